// The gradient everywhere, for operations that need it as a step of theirs.
#pragma once

#include "backends/cuda/device.h"
#include "backends/cuda/kernels/gradient_factors.h"

namespace speft::cuda {

// sums[r, c] += scale · Σ_t rows[t, r]·columns[t, c], in tiles; `sums` is [rows, columns]. On tensor cores where the
// factors are made for them, unless they are not to be used. A sum does not depend on which rows are asked for.
void add_everywhere(const speft_backend_device &device, const char *operation, const GradientFactors &factors,
                    std::uint64_t tokens, float scale, float *sums, bool tensor_cores);

}  // namespace speft::cuda
