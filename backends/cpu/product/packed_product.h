// A product of two matrices: tiles of it, from strips of both factors that are as wide as a tile. The target is cut
// into blocks, and each sum into blocks of terms; between those a target of 16 bits is kept as float32, to be rounded
// once.
//
// Scratch: the strips of one block of terms, and the float32 values of one block of a target of 16 bits.
#pragma once

#include <type_traits>

#include "backends/cpu/parallel.h"
#include "backends/cpu/product/factors.h"
#include "backends/cpu/product_frame.h"
#include "backends/cpu/scalar_types.h"

namespace speft::cpu {

// Words: strips of a tile's rows and columns stay in the nearer caches.
inline constexpr std::uint64_t longest_block = 256;
// Of the target, whole strips of all kernels: large, for both factors are packed anew for each block of it.
inline constexpr std::uint64_t block_side = 1536;

// What strips are packed from: a strip takes so many of the columns, and all of the terms.
struct StripRange {
    Piece columns;
    Piece terms;
};

// A dense factor: [columns][terms] where `of_lines`, else [terms][columns].
class DenseFactor {
public:
    DenseFactor(const void *values, std::int32_t type, bool of_lines, std::uint64_t stride)
        : factor_{values, type, stride, stride}, of_lines_(of_lines) {}

    // strip i from strips + i·strip_words on.
    void fill(const speft_backend_device &device, const ProductKernels &kernels, std::uint64_t strip_columns,
              std::uint64_t strip_words, StripRange range, Word *strips) const {
        const std::uint64_t term_count = range.terms.end - range.terms.begin;
        for_each_piece(device, Pieces(strip_columns, range.columns.end - range.columns.begin),
                       [&](Piece strip, std::int64_t index) {
            const std::uint64_t first = range.columns.begin + strip.begin, count = strip.end - strip.begin;
            const Window window = of_lines_ ? factor_.window(first, term_count, range.terms.begin, count)
                                            : factor_.window(range.terms.begin, term_count, first, count);
            (of_lines_ ? kernels.fill_strip_of_lines : kernels.fill_strip)(
                window, strip_columns, strips + static_cast<std::uint64_t>(index) * strip_words);
        });
    }

private:
    Factor factor_;
    bool of_lines_;
};

// `Right` is the second factor: a class with `fill`, as DenseFactor has it.
template <class Right>
class PackedProduct {
public:
    PackedProduct(const speft_backend_device &device, const ProductFrame &frame, const Right &right,
                  const ProductKernels &kernels)
        : device_(device),
          m_(frame),
          left_(m_.a, m_.a_type, true, m_.inner),
          right_(right),
          kernels_(kernels),
          block_words_(std::min(longest_block, divide_up(m_.inner, kernels.tokens_a_word))),
          row_words_(round_up(std::min(block_side, m_.rows), kernels.tile_rows) * block_words_),
          column_words_(round_up(std::min(block_side, m_.columns), kernels.tile_columns) * block_words_) {}

    std::uint64_t scratch_bytes() const {
        const bool in_place = m_.target_type == SPEFT_SCALAR_FLOAT32;
        const std::uint64_t sums =
            in_place ? 0 : std::min(block_side, m_.rows) * std::min(block_side, m_.columns);
        return (row_words_ + column_words_) * sizeof(Word) + sums * sizeof(float);
    }

    void run(void *scratch) const {
        const Pieces row_blocks(block_side, m_.rows), column_blocks(block_side, m_.columns);
        visit_scalar(m_.target_type, [&](auto scalar) {
            for (std::int64_t c = 0; c < column_blocks.count(); ++c)
                for (std::int64_t r = 0; r < row_blocks.count(); ++r)
                    multiply_block<decltype(scalar)>(row_blocks[r], column_blocks[c], static_cast<Word *>(scratch));
        });
    }

private:
    // Of the terms [begin, end) of every sum.
    struct Terms {
        std::uint64_t begin, end;
        bool first, last;
    };

    template <class Target>
    void multiply_block(Piece rows, Piece columns, Word *scratch) const {
        Word *const row_strips = scratch, *const column_strips = scratch + row_words_;
        float *const sums = reinterpret_cast<float *>(column_strips + column_words_);
        const std::uint64_t length = std::max<std::uint64_t>(block_words_ * kernels_.tokens_a_word, 1);
        std::uint64_t begin = 0;
        do {  // also where there are no terms: the target becomes the base
            const std::uint64_t end = std::min(begin + length, m_.inner);
            const Piece terms{0, begin, end};
            left_.fill(device_, kernels_, kernels_.tile_rows, kernels_.tile_rows * block_words_, {rows, terms},
                       row_strips);
            right_.fill(device_, kernels_, kernels_.tile_columns, kernels_.tile_columns * block_words_,
                        {columns, terms}, column_strips);
            add_tiles<Target>(rows, columns, {begin, end, begin == 0, end == m_.inner}, row_strips, column_strips,
                              sums);
            begin = end;
        } while (begin < m_.inner);
    }

    template <class Target>
    void add_tiles(Piece rows, Piece columns, Terms terms, const Word *row_strips, const Word *column_strips,
                   float *sums) const {
        constexpr std::uint64_t strips_a_task = 8;
        const Pieces groups(strips_a_task * kernels_.tile_rows, rows.end - rows.begin);
        const Pieces column_tiles(kernels_.tile_columns, columns.end - columns.begin);
        const std::uint64_t words = divide_up(terms.end - terms.begin, kernels_.tokens_a_word);
        parallel_for(device_, groups.count() * column_tiles.count(), [&](std::int64_t task) {
            const Piece group = groups[task / column_tiles.count()];
            const Piece tile_columns = column_tiles[task % column_tiles.count()];
            const std::uint64_t width = tile_columns.end - tile_columns.begin;
            float tile[max_tile];
            for (std::uint64_t row = group.begin; row < group.end; row += kernels_.tile_rows) {
                const std::uint64_t end = std::min(row + kernels_.tile_rows, group.end);
                kernels_.multiply_tile(row_strips + row * block_words_,
                                       column_strips + tile_columns.begin * block_words_, words, tile);
                for (std::uint64_t r = row; r < end; ++r) {
                    Target *const target = static_cast<Target *>(m_.target) + (rows.begin + r) * m_.columns +
                                           columns.begin + tile_columns.begin;
                    float *const kept = sums + r * (columns.end - columns.begin) + tile_columns.begin;
                    add_row(tile + (r - row) * kernels_.tile_columns, width, terms, target, kept);
                }
            }
        });
    }

    template <class Target>
    void add_row(const float *products, std::uint64_t width, Terms terms, Target *target, float *kept) const {
        float *sums = kept;
        if constexpr (std::is_same_v<Target, float>) sums = target;
        const float scale = m_.scale;
        if (!terms.first)
            for (std::uint64_t c = 0; c < width; ++c) sums[c] += scale * products[c];
        else if (m_.accumulate)
            for (std::uint64_t c = 0; c < width; ++c) sums[c] = to_float(target[c]) + scale * products[c];
        else
            for (std::uint64_t c = 0; c < width; ++c) sums[c] = 0.0f + scale * products[c];
        if constexpr (!std::is_same_v<Target, float>)
            if (terms.last)
                for (std::uint64_t c = 0; c < width; ++c) target[c] = from_float<Target>(sums[c]);
    }

    const speft_backend_device &device_;
    const ProductFrame m_;
    const DenseFactor left_;
    const Right right_;
    const ProductKernels &kernels_;
    const std::uint64_t block_words_;
    const std::uint64_t row_words_, column_words_;  // of the strips
};

}  // namespace speft::cpu
