// The kernels of code_kernels.h for any instruction set. Each file that includes this is compiled for other
// instructions: everything here has internal linkage, and calls nothing that is shared.
//
// `Set` has `most_rows` and `most_tokens`, and vectors of `lanes` float32 (Vector) and words (Words):
// `levels(pointer)`, the 16 of them; `look_up(levels, words)` of each word's last 4 bits; `spread(scales)`, lanes/4 of
// them, each to 4 lanes; and `sum(vector)`.
#pragma once

#include "backends/cpu/product/code_kernels.h"

namespace speft::cpu {
namespace {

template <class Set>
struct CodeTemplate {
    using Vector = typename Set::Vector;
    using Words = typename Set::Words;
    static constexpr int lanes = Set::lanes;
    static constexpr int codes_a_word = 8;
    static constexpr int chunk = lanes * codes_a_word;
    static constexpr int scales_a_chunk = chunk / static_cast<int>(scale_stretch);

    template <class Loaded, class Source>
    static Loaded load(const Source *source) {
        Loaded loaded;
        __builtin_memcpy(&loaded, source, sizeof loaded);
        return loaded;
    }

    // Of the rows of a strip.
    template <int rows>
    struct Chunk {
        Words words[rows];
        Vector scales[rows];

        [[gnu::always_inline]] Chunk(const CodeStrip &strip, std::uint64_t number) {
#pragma GCC unroll 4
            for (int r = 0; r < rows; ++r) {
                const auto row = static_cast<std::uint64_t>(r);
                const std::uint8_t *const codes = strip.codes + row * strip.stride + number * sizeof(Words);
                __builtin_prefetch(codes + strip.ahead);
                words[r] = load<Words>(codes);
                scales[r] = Set::spread(strip.scales + row * strip.scales_stride + number * scales_a_chunk);
            }
        }
    };

    static constexpr std::uint64_t place(int token, int k) {
        return static_cast<std::uint64_t>(token * chunk + k * lanes);
    }

    // Few tokens leave registers for the sums of a chunk, by which it is scaled once; else each weight is.
    template <int rows, int tokens>
    static void dot(const CodeStrip &strip, const float *a, std::uint64_t stride, float *sums) {
        constexpr bool scales_sums = tokens <= 2;
        const auto levels = Set::levels(strip.levels);
        Vector total[rows][tokens] = {};
        for (std::uint64_t c = 0; c < strip.chunks; ++c, a += stride) {
            const Chunk<rows> codes(strip, c);
            Vector of_chunk[rows][tokens] = {};
            auto &added = scales_sums ? of_chunk : total;
#pragma GCC unroll 8
            for (int k = 0; k < codes_a_word; ++k) {
                Vector weights[rows];
#pragma GCC unroll 4
                for (int r = 0; r < rows; ++r) {
                    weights[r] = Set::look_up(levels, codes.words[r] >> (4 * k));
                    if (!scales_sums) weights[r] *= codes.scales[r];
                }
#pragma GCC unroll 4
                for (int t = 0; t < tokens; ++t) {
                    const Vector token = load<Vector>(a + place(t, k));
#pragma GCC unroll 4
                    for (int r = 0; r < rows; ++r) added[r][t] += token * weights[r];
                }
            }
            if (!scales_sums) continue;
#pragma GCC unroll 4
            for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
                for (int t = 0; t < tokens; ++t) total[r][t] += of_chunk[r][t] * codes.scales[r];
        }
        for (int r = 0; r < rows; ++r)
            for (int t = 0; t < tokens; ++t)
                sums[static_cast<std::uint64_t>(r) * most_tokens + static_cast<std::uint64_t>(t)] +=
                    Set::sum(total[r][t]);
    }

    template <int rows, int tokens>
    static void add(const CodeStrip &strip, const float *factors, std::uint64_t factors_stride, float *sums,
                    std::uint64_t stride) {
        const auto levels = Set::levels(strip.levels);
        for (std::uint64_t c = 0; c < strip.chunks; ++c, sums += stride) {
            const Chunk<rows> codes(strip, c);
            Vector scaled[rows][tokens];
#pragma GCC unroll 4
            for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
                for (int t = 0; t < tokens; ++t)
                    scaled[r][t] =
                        factors[static_cast<std::uint64_t>(r) * factors_stride + static_cast<std::uint64_t>(t)] *
                        codes.scales[r];
#pragma GCC unroll 8
            for (int k = 0; k < codes_a_word; ++k) {
                Vector weights[rows];
#pragma GCC unroll 4
                for (int r = 0; r < rows; ++r) weights[r] = Set::look_up(levels, codes.words[r] >> (4 * k));
#pragma GCC unroll 4
                for (int t = 0; t < tokens; ++t) {
                    Vector total = load<Vector>(sums + place(t, k));
#pragma GCC unroll 4
                    for (int r = 0; r < rows; ++r) total += scaled[r][t] * weights[r];
                    __builtin_memcpy(sums + place(t, k), &total, sizeof total);
                }
            }
        }
    }

    template <int rows, int tokens>
    static constexpr CodeKernels kernels = {
        .most_rows = Set::most_rows,
        .most_tokens = Set::most_tokens,
        .lanes = lanes,
        .rows = rows,
        .tokens = tokens,
        .dot = {{dot<1, 1>, dot<1, 2>, tokens > 2 ? dot<1, 3> : nullptr, tokens > 3 ? dot<1, 4> : nullptr},
                {dot<rows, 1>, dot<rows, 2>, tokens > 2 ? dot<rows, 3> : nullptr,
                 tokens > 3 ? dot<rows, 4> : nullptr}},
        .add = {{add<1, 1>, add<1, 2>, tokens > 2 ? add<1, 3> : nullptr, tokens > 3 ? add<1, 4> : nullptr},
                {add<rows, 1>, add<rows, 2>, tokens > 2 ? add<rows, 3> : nullptr,
                 tokens > 3 ? add<rows, 4> : nullptr}},
    };
};

}  // namespace
}  // namespace speft::cpu
