// Squares of per-example gradients, summed. A worker takes a tile of the weight and goes through all examples while
// the tile's sums, its product and the strips of a block of tokens stay in the second-level cache.
//
// Scratch: 540 KiB for each worker.
#include <atomic>

#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/product/factors.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t longest_block = 256;  // words
constexpr std::uint64_t side = 192;           // of a tile: whole strips, of every kernel

class ExampleSquares {
public:
    ExampleSquares(const speft_backend_device &device, const speft_add_example_squares &arguments,
                   const ProductKernels &kernels)
        : device_(device),
          arguments_(arguments),
          kernels_(kernels),
          product_(arguments),
          row_tiles_(divide_up(product_.rows.width, side)),
          column_tiles_(divide_up(product_.columns.width, side)),
          block_words_(std::min(longest_block, divide_up(arguments.tokens, kernels.tokens_a_word))),
          workers_(std::min<std::uint64_t>(static_cast<std::uint64_t>(device.threads), row_tiles_ * column_tiles_)) {}

    std::uint64_t scratch_bytes() const { return workers_ * worker_words() * sizeof(Word); }

    void run(void *scratch) const {
        std::atomic<std::uint64_t> next{0};
        parallel_for(device_, static_cast<std::int64_t>(workers_), [&](std::int64_t worker) {
            Word *const memory = static_cast<Word *>(scratch) + static_cast<std::uint64_t>(worker) * worker_words();
            for (std::uint64_t index; (index = next.fetch_add(1)) < row_tiles_ * column_tiles_;)
                add_tile(index / column_tiles_ * side, index % column_tiles_ * side, memory);
        });
    }

private:
    // Part of the weight, and of a worker's scratch.
    struct Tile {
        Product factors;
        float *sums;                // of the weight, from the tile's first scalar on
        Word *rows, *columns;       // strips
        float *products;            // [side][side]: of an example's blocks before the last
    };

    std::uint64_t worker_words() const { return 2 * side * block_words_ + side * side; }

    void add_tile(std::uint64_t row, std::uint64_t column, Word *memory) const {
        const std::uint64_t strips_words = side * block_words_;
        const Tile tile = {product_.part(row, std::min(side, product_.rows.width - row), column,
                                         std::min(side, product_.columns.width - column)),
                           arguments_.sums + row * product_.columns.width + column, memory, memory + strips_words,
                           reinterpret_cast<float *>(memory + 2 * strips_words)};
        for (std::uint64_t example = 0; example < arguments_.examples; ++example)
            add_example(tile, static_cast<std::uint64_t>(arguments_.offsets[example]),
                        static_cast<std::uint64_t>(arguments_.offsets[example + 1]));
    }

    void add_example(const Tile &tile, std::uint64_t begin, std::uint64_t end) const {
        const std::uint64_t block_tokens = block_words_ * kernels_.tokens_a_word;
        for (std::uint64_t token = begin; token < end; token += block_tokens) {
            const std::uint64_t tokens = std::min(block_tokens, end - token);
            fill(tile.factors.rows, token, tokens, kernels_.tile_rows, tile.rows);
            fill(tile.factors.columns, token, tokens, kernels_.tile_columns, tile.columns);
            add_block(tile, divide_up(tokens, kernels_.tokens_a_word), token == begin, token + tokens == end);
        }
    }

    void fill(const Factor &factor, std::uint64_t token, std::uint64_t tokens, std::uint64_t strip_columns,
              Word *strips) const {
        for (std::uint64_t column = 0; column < factor.width; column += strip_columns)
            kernels_.fill_strip(
                factor.window(token, tokens, column, std::min(strip_columns, factor.width - column)), strip_columns,
                strips + column * block_words_);
    }

    void add_block(const Tile &tile, std::uint64_t words, bool first, bool last) const {
        const std::uint64_t all_rows = tile.factors.rows.width, all_columns = tile.factors.columns.width;
        float product[max_tile];
        for (std::uint64_t row = 0; row < all_rows; row += kernels_.tile_rows)
            for (std::uint64_t column = 0; column < all_columns; column += kernels_.tile_columns) {
                const std::uint64_t rows = std::min(kernels_.tile_rows, all_rows - row);
                const std::uint64_t columns = std::min(kernels_.tile_columns, all_columns - column);
                kernels_.multiply_tile(tile.rows + row * block_words_, tile.columns + column * block_words_, words,
                                       product);
                for (std::uint64_t r = 0; r < rows; ++r) {
                    float *const now = product + r * kernels_.tile_columns;
                    float *const before = tile.products + (row + r) * side + column;
                    if (!first) add(before, columns, now);
                    if (last)
                        add_squares(now, columns, tile.sums + (row + r) * product_.columns.width + column);
                    else
                        std::copy_n(now, columns, before);
                }
            }
    }

    static void add(const float *values, std::uint64_t count, float *sums) {
        for (std::uint64_t i = 0; i < count; ++i) sums[i] += values[i];
    }

    void add_squares(const float *products, std::uint64_t count, float *sums) const {
        const float scale = arguments_.scale, weight = arguments_.weight;
        for (std::uint64_t i = 0; i < count; ++i) {
            const float gradient = scale * products[i];
            sums[i] += weight * (gradient * gradient);
        }
    }

    const speft_backend_device &device_;
    const speft_add_example_squares &arguments_;
    const ProductKernels &kernels_;
    const Product product_;
    const std::uint64_t row_tiles_, column_tiles_;
    const std::uint64_t block_words_;
    const std::uint64_t workers_;
};

bool is_empty(const speft_add_example_squares &arguments) {
    return arguments.in == 0 || arguments.out == 0 || arguments.tokens == 0;
}

}  // namespace

std::uint64_t add_example_squares_scratch(const speft_backend_device &device,
                                          const speft_add_example_squares &arguments, const ProductKernels &kernels) {
    return is_empty(arguments) ? 0 : ExampleSquares(device, arguments, kernels).scratch_bytes();
}

void add_example_squares(const speft_backend_device &device, const speft_add_example_squares &arguments,
                         const ProductKernels &kernels, void *scratch) {
    if (!is_empty(arguments)) ExampleSquares(device, arguments, kernels).run(scratch);
}

}  // namespace speft::cpu
