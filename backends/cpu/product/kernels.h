// The inner loops of a product, as each instruction set has them. They see parts of the factors and panels of words;
// the files around them cut the work and hand it out.
//
// A panel is made of 32-bit words, and a word holds what one step of a dot product takes from a column: the float32
// value of one token, or the bfloat16 values of two tokens in turn, the earlier one in the low half.
#pragma once

#include <cstdint>

namespace speft::cpu {

using Word = std::uint32_t;

// A part of a factor (x or dy), of any type: [tokens][columns] with `stride` elements from a token to the next.
struct Window {
    const void *values;
    std::int32_t type;
    std::uint64_t stride;
    std::uint64_t tokens;
    std::uint64_t columns;
};

// What will be read next. The kernels prefetch some of its cache lines at each step of other work: a burst would fill
// the queue of misses and stall them, and leave memory idle afterwards. A step is a transposed block of
// word_multiple × word_multiple words, or four dot products.
struct Ahead {
    struct Region {
        const unsigned char *row;
        std::uint64_t row_bytes, stride;  // bytes
        std::uint64_t rows;               // that are left
    };
    Region regions[2] = {};    // in turn
    std::uint64_t offset = 0;  // in the row, bytes
    std::uint64_t lines_a_step = 0;
};

// The selected scalars where some rows meet the columns of a panel: sums[j] += scale · row·column for j from
// starts[r·starts_stride] up to starts[r·starts_stride + 1] in each row r, of columns indices[j] − origin − r·width.
struct SampledStrip {
    const Word *rows, *columns;  // panels
    std::uint64_t panel_stride, words;
    std::uint64_t row_count;
    const std::uint64_t *starts;
    std::uint64_t starts_stride;
    const std::uint32_t *indices;
    std::uint32_t origin, width;
    float scale;
    float *sums;
    Ahead *ahead;
};

// Of a line of a sparse factor: what it multiplies and with what.
struct SparseEntry {
    std::uint32_t word;
    float value;
};

// What tasks and scratch have room for.
inline constexpr std::uint64_t max_lanes = 16;
inline constexpr std::uint64_t max_tile = 8 * 48;
inline constexpr std::uint64_t max_wide = 64;

struct ProductKernels {
    std::uint64_t tokens_a_word;  // 2: both factors have to be bfloat16

    // panel[column][word], `panel_stride` words from a column to the next, zeros after the last token. `words` is a
    // multiple of `word_multiple`; the panel has room for a multiple of `max_lanes` columns.
    void (*fill_columns)(const Window &window, std::uint64_t words, Word *panel, std::uint64_t panel_stride,
                         Ahead &ahead);
    std::uint64_t word_multiple;

    void (*add_sampled)(const SampledStrip &strip);

    // strip[word][column], `strip_columns` of them, zeros after the window's last column.
    void (*fill_strip)(const Window &window, std::uint64_t strip_columns, Word *strip);

    // The same of a window that lies the other way: [columns][tokens], `stride` elements from a column to the next.
    void (*fill_strip_of_lines)(const Window &window, std::uint64_t strip_columns, Word *strip);

    // product[tile_rows][tile_columns] = the products of two strips as wide as that, of `words` words.
    void (*multiply_tile)(const Word *rows, const Word *columns, std::uint64_t words, float *product);
    std::uint64_t tile_rows;
    std::uint64_t tile_columns;

    // sums[wide_columns] = Σ value · strip[word] over the entries, of a strip as wide as that; one token a word only.
    void (*sum_entries)(const Word *strip, const SparseEntry *entries, const SparseEntry *end, float *sums);
    std::uint64_t wide_columns;
};

extern const ProductKernels reference_kernels;
#ifdef __x86_64__
extern const ProductKernels avx2_kernels;
extern const ProductKernels avx512_kernels;
extern const ProductKernels avx512_bf16_kernels;
#endif

}  // namespace speft::cpu
