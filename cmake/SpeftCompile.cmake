# How every native target here is compiled: one place for language level, warnings, visibility and sanitizers.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

# -ffp-contract=off: the definitions in the headers round once an operation, so no FMA may be formed behind them.
set(SPEFT_COMPILE_OPTIONS -Wall -Wextra -Wshadow -ffp-contract=off)
add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:${SPEFT_COMPILE_OPTIONS}>")
add_compile_definitions(SPEFT_VERSION="${PROJECT_VERSION}")

if(SPEFT_SANITIZE)
  add_compile_options(-fsanitize=${SPEFT_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1)
  add_link_options(-fsanitize=${SPEFT_SANITIZE})
endif()

# A library that hosts load: everything hidden but what `exports` lists, nothing left undefined, and the C++ runtime
# inside, so that it needs libc, libm, libpthread and libdl only (a sanitizer brings its own runtime).
function(speft_seal target exports)
  target_link_options(${target} PRIVATE -Wl,--version-script=${exports} -Wl,--exclude-libs,ALL)
  set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS ${exports})
  if(NOT SPEFT_SANITIZE)
    target_link_options(${target} PRIVATE -static-libstdc++ -static-libgcc -Wl,--gc-sections -Wl,--no-undefined)
  endif()
endfunction()
