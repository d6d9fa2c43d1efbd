#include "backends/cpu/product/everywhere.h"

#include "backends/cpu/parallel.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t longest_block = 256;  // words: strips of a tile's rows and columns stay in the nearer caches

}  // namespace

ProductEverywhere::ProductEverywhere(const speft_backend_device &device, const DenseProduct &product,
                                     const ProductKernels &kernels)
    : device_(device),
      kernels_(kernels),
      product_(product),
      rows_(product.factors.rows),
      columns_(product.factors.columns),
      block_words_(std::min(longest_block, divide_up(product.tokens, kernels.tokens_a_word))),
      row_strips_(divide_up(rows_.width, kernels.tile_rows)),
      column_strips_(divide_up(columns_.width, kernels.tile_columns)) {}

std::uint64_t ProductEverywhere::scratch_bytes() const {
    return (row_strips_ * kernels_.tile_rows + column_strips_ * kernels_.tile_columns) * block_words_ * sizeof(Word);
}

void ProductEverywhere::fill_strips(std::uint64_t token, std::uint64_t tokens, Word *row_strips,
                                    Word *column_strips) const {
    const auto fill = [&](const Factor &factor, std::uint64_t strip_columns, Word *strips) {
        for_each_piece(device_, Pieces(strip_columns, factor.width), [&](Piece strip, std::int64_t) {
            kernels_.fill_strip(factor.window(token, tokens, strip.begin, strip.end - strip.begin), strip_columns,
                                strips + strip.begin * block_words_);
        });
    };
    fill(rows_, kernels_.tile_rows, row_strips);
    fill(columns_, kernels_.tile_columns, column_strips);
}

void ProductEverywhere::add_tiles(std::uint64_t words, const Word *row_strips, const Word *column_strips) const {
    constexpr std::uint64_t strips_a_task = 8;
    const Pieces groups(strips_a_task, row_strips_);
    parallel_for(device_, groups.count() * static_cast<std::int64_t>(column_strips_), [&](std::int64_t task) {
        const std::uint64_t column_strip = static_cast<std::uint64_t>(task) % column_strips_;
        const Piece group = groups[task / static_cast<std::int64_t>(column_strips_)];
        const std::uint64_t first_column = column_strip * kernels_.tile_columns;
        const std::uint64_t columns = std::min(kernels_.tile_columns, columns_.width - first_column);
        float tile[max_tile];
        for (std::uint64_t row_strip = group.begin; row_strip < group.end; ++row_strip) {
            const std::uint64_t first_row = row_strip * kernels_.tile_rows;
            const std::uint64_t rows = std::min(kernels_.tile_rows, rows_.width - first_row);
            kernels_.multiply_tile(row_strips + first_row * block_words_, column_strips + first_column * block_words_,
                                   words, tile);
            for (std::uint64_t r = 0; r < rows; ++r) {
                float *const sums = product_.sums + (first_row + r) * product_.stride + first_column;
                for (std::uint64_t c = 0; c < columns; ++c)
                    sums[c] += product_.scale * tile[r * kernels_.tile_columns + c];
            }
        }
    });
}

void ProductEverywhere::run(void *scratch) const {
    Word *const row_strips = static_cast<Word *>(scratch);
    Word *const column_strips = row_strips + row_strips_ * kernels_.tile_rows * block_words_;
    const std::uint64_t block_tokens = block_words_ * kernels_.tokens_a_word;
    for (std::uint64_t token = 0; token < product_.tokens; token += block_tokens) {
        const std::uint64_t tokens = std::min(block_tokens, product_.tokens - token);
        fill_strips(token, tokens, row_strips, column_strips);
        add_tiles(divide_up(tokens, kernels_.tokens_a_word), row_strips, column_strips);
    }
}

}  // namespace speft::cpu
