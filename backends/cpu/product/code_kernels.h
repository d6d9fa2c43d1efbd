// The inner loops of products of a few rows with 4-bit codes, as each instruction set has them: what is decoded stays
// in registers.
//
// A chunk is 8·lanes codes of a row, one word of 8 to a lane. Vector k of a chunk holds the k-th code of each word,
// counted from its lowest bits: as bytes have their first code above, weight 8·lane + (k ^ 1). Tokens that meet weights
// are in that order too, chunk by chunk: [chunks][tokens][k][lanes].
#pragma once

#include <cstdint>

namespace speft::cpu {

// Scales are told for so many weights, to which those of any block size can be spread.
inline constexpr std::uint64_t scale_stretch = 32;

// Chunks of some rows of codes.
struct CodeStrip {
    const std::uint8_t *codes;
    std::uint64_t stride;  // bytes from a row to the next
    std::uint64_t ahead;   // bytes: what is so far ahead will be read next
    const float *scales;
    std::uint64_t scales_stride;  // floats from a row to the next
    const float *levels;          // [16]
    std::uint64_t chunks;
};

// What sums and scratch have room for.
inline constexpr std::uint64_t most_tokens = 16;

struct CodeKernels {
    std::uint64_t most_rows;    // that are faster by these than by tiles
    std::uint64_t most_tokens;  // of them at a time; no more than above
    std::uint64_t lanes;
    std::uint64_t rows, tokens;  // at most, in a call

    // For a call with `rows` rows or 1, and 1 to `tokens` tokens: [rows > 1][tokens − 1]. `stride`: from a chunk of the
    // tokens to the next.
    //
    // sums[row·most_tokens + token] += the dot product of a row with a token
    using Dot = void (*)(const CodeStrip &strip, const float *tokens, std::uint64_t stride, float *sums);
    Dot dot[2][4];
    // token += Σ factors[row·factors_stride + token] · the row
    using Add = void (*)(const CodeStrip &strip, const float *factors, std::uint64_t factors_stride, float *tokens,
                         std::uint64_t stride);
    Add add[2][4];
};

#ifdef __x86_64__
extern const CodeKernels avx512_code_kernels;
extern const CodeKernels avx2_code_kernels;
#endif

}  // namespace speft::cpu
