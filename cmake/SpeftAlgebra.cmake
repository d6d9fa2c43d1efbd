# The linear algebra that backends share, core/base/algebra: a part of each of them, for no C++ type crosses to a
# plug-in. The core itself needs none. Compiled once: Eigen's templates take longer than all that uses them.
#
# Eigen is headers only, of which linear_algebra.cpp alone knows.
find_package(Eigen3 3.4 REQUIRED NO_MODULE)
file(GLOB speft_algebra_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/core/base/algebra/*.cpp)

add_library(speft_algebra STATIC ${speft_algebra_sources})
target_include_directories(speft_algebra PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/capi/include)
target_include_directories(speft_algebra SYSTEM PRIVATE
                           $<TARGET_PROPERTY:Eigen3::Eigen,INTERFACE_INCLUDE_DIRECTORIES>)
target_compile_options(speft_algebra PRIVATE -fno-math-errno -fno-trapping-math)
target_link_libraries(speft_algebra PUBLIC ${CMAKE_DL_LIBS})
