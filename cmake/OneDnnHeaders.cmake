# oneDNN's C headers, for the implementations of products that use it. The library itself is opened at run time.
#
# SPEFT_ONEDNN_INCLUDE_DIR  the folder of oneapi/dnnl/dnnl.h, or NOTFOUND: those implementations are left out
# SPEFT_ONEDNN_LIBRARY      a libdnnl.so.3 for the tests in the build tree; they skip what it is missing for
find_path(SPEFT_ONEDNN_INCLUDE_DIR oneapi/dnnl/dnnl.h HINTS ${PROJECT_SOURCE_DIR}/.venv/include)
set(SPEFT_ONEDNN_LIBRARY ${PROJECT_SOURCE_DIR}/.venv/lib/libdnnl.so.3 CACHE FILEPATH "oneDNN, for the tests")

set(SPEFT_WITH_ONEDNN OFF)
if(SPEFT_SANITIZE MATCHES "thread")
  # TSan sees neither the atomics of oneDNN nor its generated code, only the memory that passes between threads.
  message(STATUS "oneDNN: left out, ThreadSanitizer would report what it cannot see synchronized")
elseif(NOT SPEFT_ONEDNN_INCLUDE_DIR)
  message(STATUS "oneDNN: left out, its headers were not found (SPEFT_ONEDNN_INCLUDE_DIR)")
else()
  message(STATUS "oneDNN: headers in ${SPEFT_ONEDNN_INCLUDE_DIR}")
  set(SPEFT_WITH_ONEDNN ON)
endif()
