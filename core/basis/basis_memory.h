// What a basis and the products in it take of the device, before there is one: the steps of basis.cpp and
// basis_factors.cpp, without their data.
#pragma once

#include <cstdint>

#include "core/adapter/matrices.h"
#include "core/basis/basis_shape.h"

namespace speft {

// Of one step, in bytes.
struct StepMemory {
    std::uint64_t buffers = 0;  // the most at one time
    std::uint64_t kept = 0;     // of them, when it is done
    std::uint64_t scratch = 0;
};

// The sums, and the gradient that is added to them.
std::uint64_t observed_bytes(const BasisShape &shape);
// U and V, and what turning back needs beside them.
std::uint64_t factor_bytes(const BasisShape &shape);
StepMemory plan_observing(const Device &device, const BasisShape &shape);
StepMemory plan_fitting(const Device &device, const BasisShape &shape);

// Of a gradient from activations of this type; its own product, where it comes to that, has scratch that is not in it.
StepMemory plan_rotating(const Device &device, const BasisShape &shape, std::uint64_t tokens, ScalarType type);
// Δ̃ of so many selected scalars.
StepMemory plan_turning_back(const Device &device, const BasisShape &shape, std::uint64_t selected);
// inputs (W+Δ)ᵀ or inputs (W+Δ); without the scratch of the inputs' product with W alone.
StepMemory plan_applying(const Device &device, const BasisShape &shape, std::uint64_t tokens, std::uint64_t selected,
                         ScalarType type, Factor weight_is);

}  // namespace speft
