# Whether the CUDA backend is built, and with which compiler: a CUDA 13 toolkit that is installed, or the one that
# tools/cuda-toolkit.sh brings. No driver and no GPU are needed.
#
# SPEFT_CUDA        AUTO: where there is a compiler; ON: an error where there is none; OFF
# CMAKE_CUDA_COMPILER, CUDACXX    another nvcc
set(SPEFT_CUDA AUTO CACHE STRING "Build the CUDA backend: AUTO, ON or OFF")
set_property(CACHE SPEFT_CUDA PROPERTY STRINGS AUTO ON OFF)

set(SPEFT_WITH_CUDA OFF)
if(SPEFT_SANITIZE OR NOT SPEFT_CUDA)
  return()  # device code does not change under the CPU's sanitizers; the emulation of tests/ runs under them
endif()
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(SPEFT_NVCC nvcc HINTS ${PROJECT_SOURCE_DIR}/.cache/cuda/nvidia/cu13/bin /usr/local/cuda/bin)
  if(SPEFT_NVCC)
    set(CMAKE_CUDA_COMPILER ${SPEFT_NVCC})
  endif()
endif()
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  if(SPEFT_CUDA STREQUAL ON)
    message(FATAL_ERROR "SPEFT_CUDA is ON, but there is no nvcc: install CUDA 13, or set CMAKE_CUDA_COMPILER")
  endif()
  message(STATUS "CUDA: left out, there is no nvcc")
  return()
endif()

# What can be run: Ampere, and Hopper with its PTX for what comes later.
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
enable_language(CUDA)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.8)
  message(FATAL_ERROR "CUDA 12.8 or later is needed; ${CMAKE_CUDA_COMPILER} is ${CMAKE_CUDA_COMPILER_VERSION}")
endif()
message(STATUS "CUDA: ${CMAKE_CUDA_COMPILER_VERSION} for ${CMAKE_CUDA_ARCHITECTURES}")
set(SPEFT_WITH_CUDA ON)
