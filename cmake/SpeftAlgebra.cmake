# The linear algebra that backends share, core/base/algebra: a part of each of them, for no C++ type crosses to a
# plug-in. The core itself needs none.
#
#     speft_add_algebra(TARGET)
#
# Eigen is headers only, of which linear_algebra.cpp alone knows.
find_package(Eigen3 3.4 REQUIRED NO_MODULE)
file(GLOB speft_algebra_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/core/base/algebra/*.cpp)

function(speft_add_algebra target)
  target_sources(${target} PRIVATE ${speft_algebra_sources})
  target_include_directories(${target} SYSTEM PRIVATE $<TARGET_PROPERTY:Eigen3::Eigen,INTERFACE_INCLUDE_DIRECTORIES>)
endfunction()
