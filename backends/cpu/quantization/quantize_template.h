// Weights to codes, over the vectors of an instruction set; as in kernel_template.h, nothing here is shared.
//
// `Set` has vectors of `lanes` float32 (Vector) and of as many int32 (Integers): `load` from each type; `least` and
// `most` of two; `count_below(read_middles(pointer), vector)`, how many of the 15 are below each; `store_pairs(numbers,
// codes, target)`, the codes of lanes numbers below 16 as halves of bytes; `store_int8(vector, target)`, each rounded
// to the nearest; and `reduce_max(integers)`.
#pragma once

#include "backends/cpu/quantization/halves.h"
#include "backends/cpu/quantization/kernels.h"

namespace speft::cpu {
namespace {

template <class Set, class Scalar>
struct QuantizeTemplate {
    using Vector = typename Set::Vector;
    using Integers = typename Set::Integers;
    static constexpr std::uint64_t lanes = Set::lanes;

    // visit(vector, first, count) along the weights; the last vector may be some weights, and zeros.
    template <class Visit>
    [[gnu::always_inline]] static inline void for_each_vector(const void *weights, std::uint64_t count,
                                                              Visit &&visit) {
        const auto *const values = static_cast<const Scalar *>(weights);
        std::uint64_t j = 0;
        for (; j + lanes <= count; j += lanes) visit(Set::load(values + j), j, lanes);
        if (j == count) return;
        Scalar some[lanes] = {};
        __builtin_memcpy(some, values + j, (count - j) * sizeof(Scalar));
        visit(Set::load(some), j, count - j);
    }

    static Integers magnitude_bits(Vector vector) { return reinterpret_cast<Integers>(vector) & 0x7fffffff; }

    static std::uint64_t count_not_finite(const void *weights, std::uint64_t count) {
        Integers counts = {};
        std::uint64_t total = 0;
        std::uint64_t left = 1u << 30;  // until a lane could run over
        const auto empty = [&] {
            for (std::uint64_t i = 0; i < lanes; ++i) total += static_cast<std::uint64_t>(counts[i]);
            counts = Integers{};
        };
        for_each_vector(weights, count, [&](Vector vector, std::uint64_t, std::uint64_t) {
            counts -= magnitude_bits(vector) >= 0x7f800000;
            if (--left > 0) return;
            empty();
            left = 1u << 30;
        });
        empty();
        return total;
    }

    // Magnitudes that are finite rise as their bits do.
    static float find_absmax(const void *weights, std::uint64_t count) {
        Integers most = {};
        for_each_vector(weights, count, [&](Vector vector, std::uint64_t, std::uint64_t) {
            most = Set::most(magnitude_bits(vector), most);
        });
        const std::int32_t bits = Set::reduce_max(most);
        float absmax;
        __builtin_memcpy(&absmax, &bits, sizeof absmax);
        return absmax;
    }

    template <bool divides>
    static void encode(const void *weights, std::uint64_t count, const LevelTable &table, float factor,
                       std::uint8_t *codes) {
        const auto middles = Set::read_middles(table.middles);
        const Vector one = 1 + Vector{};
        for_each_vector(weights, count, [&](Vector vector, std::uint64_t j, std::uint64_t there) {
            Vector share = divides ? vector / factor : vector * factor;
            share = Set::least(Set::most(share, -one), one);
            const Integers below = Set::count_below(middles, share);
            if (there == lanes) {
                Set::store_pairs(below, table.codes, codes + j / 2);
            } else {
                std::uint8_t some[lanes / 2];
                Set::store_pairs(below, table.codes, some);
                __builtin_memcpy(codes + j / 2, some, (there + 1) / 2);
            }
        });
    }

    // By functions of their own, so that none divides without need.
    static void levels4(const void *weights, std::uint64_t count, const LevelTable &table, bool divides, float factor,
                        std::uint8_t *codes) {
        (divides ? encode<true> : encode<false>)(weights, count, table, factor, codes);
    }

    static void int8(const void *weights, std::uint64_t count, float factor, std::int8_t *codes) {
        for_each_vector(weights, count, [&](Vector vector, std::uint64_t j, std::uint64_t there) {
            if (there == lanes) {
                Set::store_int8(vector * factor, codes + j);
            } else {
                std::int8_t some[lanes];
                Set::store_int8(vector * factor, some);
                __builtin_memcpy(codes + j, some, there);
            }
        });
    }
};

template <class Set>
constexpr QuantizeKernels quantize_kernels_of = {
    {QuantizeTemplate<Set, float>::count_not_finite, QuantizeTemplate<Set, BFloat>::count_not_finite,
     QuantizeTemplate<Set, Half>::count_not_finite},
    {QuantizeTemplate<Set, float>::find_absmax, QuantizeTemplate<Set, BFloat>::find_absmax,
     QuantizeTemplate<Set, Half>::find_absmax},
    {QuantizeTemplate<Set, float>::levels4, QuantizeTemplate<Set, BFloat>::levels4,
     QuantizeTemplate<Set, Half>::levels4},
    {QuantizeTemplate<Set, float>::int8, QuantizeTemplate<Set, BFloat>::int8, QuantizeTemplate<Set, Half>::int8},
};

}  // namespace
}  // namespace speft::cpu
