// Codes to weights, over the vectors of an instruction set. Each file that includes this is compiled for other
// instructions: everything here has internal linkage, and calls nothing that is shared.
//
// `Set` has vectors of `lanes` float32: `levels(pointer)`, the 16 of them; `look_up(levels, codes)` of the first
// lanes/2 bytes; `read_int8(codes)`; `spread(value)`; and `store(weights, vector)` to each type.
#pragma once

#include <cstdint>

#include "backends/cpu/quantization/halves.h"
#include "backends/cpu/quantization/kernels.h"

namespace speft::cpu {
namespace {

// The first few of a vector.
template <class Set, class Vector, class Scalar>
void store_some(Scalar *weights, std::uint64_t count, Vector values) {
    Scalar some[Set::lanes];
    Set::store(some, values);
    __builtin_memcpy(weights, some, count * sizeof(Scalar));
}

template <class Set, class Scalar>
void decode_levels4(const std::uint8_t *codes, const float *levels, float absmax, std::uint64_t count, void *target) {
    auto *weights = static_cast<Scalar *>(target);
    const auto table = Set::levels(levels);
    const auto scale = Set::spread(absmax);
    std::uint64_t j = 0;
    for (; j + Set::lanes <= count; j += Set::lanes)
        Set::store(weights + j, Set::look_up(table, codes + j / 2) * scale);
    if (j == count) return;
    std::uint8_t some[Set::lanes / 2] = {};
    __builtin_memcpy(some, codes + j / 2, (count - j + 1) / 2);
    store_some<Set>(weights + j, count - j, Set::look_up(table, some) * scale);
}

template <class Set, class Scalar>
void decode_int8(const std::int8_t *codes, float absmax, std::uint64_t count, void *target) {
    auto *weights = static_cast<Scalar *>(target);
    const auto scale = Set::spread(absmax), step = Set::spread(1.0f / 127);
    std::uint64_t j = 0;
    for (; j + Set::lanes <= count; j += Set::lanes)
        Set::store(weights + j, Set::read_int8(codes + j) * scale * step);
    if (j == count) return;
    std::int8_t some[Set::lanes] = {};
    __builtin_memcpy(some, codes + j, count - j);
    store_some<Set>(weights + j, count - j, Set::read_int8(some) * scale * step);
}

template <class Set>
constexpr DequantizeKernels kernels_of = {
    {decode_levels4<Set, float>, decode_levels4<Set, BFloat>, decode_levels4<Set, Half>},
    {decode_int8<Set, float>, decode_int8<Set, BFloat>, decode_int8<Set, Half>},
};

}  // namespace
}  // namespace speft::cpu
