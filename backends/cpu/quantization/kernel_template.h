// Codes to weights, over the vectors of an instruction set. Each file that includes this is compiled for other
// instructions: everything here has internal linkage, and calls nothing that is shared.
//
// `Set` has vectors of `lanes` float32 (Vector) and words (Words): `levels(pointer)`, the 16 of them; `look_up(levels,
// codes)` of the first lanes/2 bytes; `read_int8(codes)`; `narrow(words, halves)`, the lower halves; and
// `round_to_float16(vector, halves)`.
#pragma once

#include <cstdint>

#include "backends/cpu/quantization/halves.h"
#include "backends/cpu/quantization/kernels.h"

namespace speft::cpu {
namespace {

template <class Set>
void store(float *weights, typename Set::Vector values) {
    __builtin_memcpy(weights, &values, sizeof values);
}

template <class Set>
void store(BFloat *weights, typename Set::Vector values) {
    using Words = typename Set::Words;
    const Words bits = reinterpret_cast<Words>(values);
    const Words rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    Set::narrow(values != values ? bits >> 16 | 0x40 : rounded, &weights->bits);  // a NaN stays one
}

template <class Set>
void store(Half *weights, typename Set::Vector values) {
    Set::round_to_float16(values, &weights->bits);
}

// The first few of a vector.
template <class Set, class Scalar>
void store_some(Scalar *weights, std::uint64_t count, typename Set::Vector values) {
    Scalar some[Set::lanes];
    store<Set>(some, values);
    __builtin_memcpy(weights, some, count * sizeof(Scalar));
}

template <class Set, class Scalar>
void decode_levels4(const std::uint8_t *codes, const float *levels, float absmax, std::uint64_t count, void *target) {
    auto *weights = static_cast<Scalar *>(target);
    const auto table = Set::levels(levels);
    std::uint64_t j = 0;
    for (; j + Set::lanes <= count; j += Set::lanes)
        store<Set>(weights + j, Set::look_up(table, codes + j / 2) * absmax);
    if (j == count) return;
    std::uint8_t some[Set::lanes / 2] = {};
    __builtin_memcpy(some, codes + j / 2, (count - j + 1) / 2);
    store_some<Set>(weights + j, count - j, Set::look_up(table, some) * absmax);
}

template <class Set, class Scalar>
void decode_int8(const std::int8_t *codes, float absmax, std::uint64_t count, void *target) {
    auto *weights = static_cast<Scalar *>(target);
    constexpr float step = 1.0f / 127;
    std::uint64_t j = 0;
    for (; j + Set::lanes <= count; j += Set::lanes)
        store<Set>(weights + j, Set::read_int8(codes + j) * absmax * step);
    if (j == count) return;
    std::int8_t some[Set::lanes] = {};
    __builtin_memcpy(some, codes + j, count - j);
    store_some<Set>(weights + j, count - j, Set::read_int8(some) * absmax * step);
}

template <class Set>
constexpr DequantizeKernels kernels_of = {
    {decode_levels4<Set, float>, decode_levels4<Set, BFloat>, decode_levels4<Set, Half>},
    {decode_int8<Set, float>, decode_int8<Set, BFloat>, decode_int8<Set, Half>},
};

}  // namespace
}  // namespace speft::cpu
