// The eigenproblem of cuSOLVER, in double precision. The device is the current one.
#pragma once

#include <cstdint>

#include "backends/cuda/device.h"

namespace speft::cuda {

class Cusolver {
public:
    // NULL when there is one that can do it, else why not.
    static const char *refuse(const speft_backend_device &device, std::uint64_t size);
    // Of the memory below.
    static std::uint64_t count_bytes(const speft_backend_device &device, std::uint64_t size);
    // `memory` begins with a symmetric matrix[size][size], which its eigenvectors replace, one after another; `values`,
    // rising, are on the host.
    static void find_eigenvectors(const speft_backend_device &device, std::uint64_t size, void *memory, double *values);
};

}  // namespace speft::cuda
