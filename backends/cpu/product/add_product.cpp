// Both forms of a gradient from activations. Tokens come in blocks, whose values are turned once into float32 panels:
// token-contiguous ones for the dot products of a mask, tile-contiguous ones for the whole matrix. Scratch: one block
// of both factors, about 1 KiB for each of the in + out columns.
#include "backends/cpu/aligned_buffer.h"
#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/product/kernels.h"
#include "backends/cpu/scalar_types.h"
#include "speft/gradient.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t block_tokens = 256;

std::uint64_t round_up(std::uint64_t count, std::uint64_t multiple) {
    return (count + multiple - 1) / multiple * multiple;
}

// x or dy: [tokens, width].
struct Factor {
    const void *values;
    std::int32_t type;
    std::uint64_t width;
};

// The weight's rows come from one factor and its columns from the other.
struct Product {
    Factor rows;
    Factor columns;

    explicit Product(const speft_add_product &arguments)
        : rows{arguments.dy, arguments.dy_type, arguments.out}, columns{arguments.x, arguments.x_type, arguments.in} {
        if (arguments.layout == SPEFT_LAYOUT_IN_OUT) std::swap(rows, columns);
    }
};

// A part of a factor, of any type.
struct Window {
    std::uint64_t token;
    std::uint64_t tokens;
    std::uint64_t column;
    std::uint64_t columns;
};

// The window as float32 [rows][stride], padded with zeros to `rows` tokens and `stride` columns.
void read_window(const Factor &factor, Window window, std::uint64_t rows, std::uint64_t stride, float *target) {
    visit_scalar(factor.type, [&](auto scalar) {
        using Scalar = decltype(scalar);
        for (std::uint64_t t = 0; t < rows; ++t) {
            const std::uint64_t columns = t < window.tokens ? window.columns : 0;
            const Scalar *source =
                static_cast<const Scalar *>(factor.values) + (window.token + t) * factor.width + window.column;
            float *row = target + t * stride;
            for (std::uint64_t c = 0; c < columns; ++c) row[c] = to_float(source[c]);
            std::fill(row + columns, row + stride, 0.0f);
        }
    });
}

// ---- at a mask ----

// How many columns a task transposes: whole cache lines of the factor.
constexpr std::uint64_t group_columns = 64;

// Floats from one column of a panel to the next: an odd number of cache lines, so that columns do not fall on the
// same few sets of a cache.
constexpr std::uint64_t panel_stride = block_tokens + 16;

// `rows` tokens of a window as float32: where they lie if they are that already and all there, else in `copy`.
struct Tile {
    const float *values;
    std::uint64_t stride;
};

Tile read_tile(const Factor &factor, Window window, std::uint64_t rows, float *copy) {
    if (factor.type == SPEFT_SCALAR_FLOAT32 && window.tokens == rows && window.columns == group_columns)
        return {static_cast<const float *>(factor.values) + window.token * factor.width + window.column,
                factor.width};
    read_window(factor, window, rows, group_columns, copy);
    return {copy, group_columns};
}

// One group of columns of a block of tokens → panel[column][token].
void fill_token_panel(const ProductKernels &kernels, const Factor &factor, Window block, std::uint64_t padded_tokens,
                      float *panel) {
    float copy[max_lanes * group_columns];
    for (std::uint64_t t = 0; t < padded_tokens; t += kernels.lanes) {
        const std::uint64_t tokens = t < block.tokens ? std::min(kernels.lanes, block.tokens - t) : 0;
        const Tile tile =
            read_tile(factor, {block.token + t, tokens, block.column, block.columns}, kernels.lanes, copy);
        kernels.transpose(tile.values, tile.stride, group_columns, panel + t, panel_stride);
    }
}

void add_at_mask(const speft_backend_device &device, const speft_add_product &arguments, const Product &product,
                 const ProductKernels &kernels) {
    constexpr std::uint64_t piece_size = 256;
    const Factor *factors[] = {&product.rows, &product.columns};
    Pieces groups(group_columns);
    for (const Factor *factor : factors) groups.add(factor->width);
    const std::uint64_t row_floats = round_up(product.rows.width, group_columns) * panel_stride;
    const std::uint64_t column_floats = round_up(product.columns.width, group_columns) * panel_stride;
    const AlignedBuffer scratch(row_floats + column_floats);
    float *const panels[] = {scratch.data(), scratch.data() + row_floats};

    for (std::uint64_t token = 0; token < arguments.tokens; token += block_tokens) {
        const std::uint64_t tokens = std::min(block_tokens, arguments.tokens - token);
        const std::uint64_t padded_tokens = round_up(tokens, kernels.token_multiple);
        for_each_piece(device, groups, [&](Piece group, std::int64_t) {
            fill_token_panel(kernels, *factors[group.array],
                             {token, tokens, group.begin, group.end - group.begin}, padded_tokens,
                             panels[group.array] + group.begin * panel_stride);
        });
        for_each_piece(device, Pieces(piece_size, arguments.count), [&](Piece piece, std::int64_t) {
            kernels.add_sampled(panels[0], panels[1], panel_stride, padded_tokens,
                                static_cast<std::uint32_t>(product.columns.width), arguments.indices + piece.begin,
                                piece.end - piece.begin, arguments.scale, arguments.sums + piece.begin);
        });
    }
}

// ---- everywhere ----

void add_everywhere(const speft_backend_device &device, const speft_add_product &arguments, const Product &product,
                    const ProductKernels &kernels) {
    constexpr std::uint64_t row_tiles_a_task = 8;
    const Factor *factors[] = {&product.rows, &product.columns};
    const std::uint64_t tile_widths[] = {kernels.tile_rows, kernels.tile_columns};
    const std::uint64_t width = product.columns.width;
    const std::uint64_t longest = std::min(block_tokens, arguments.tokens);
    const std::uint64_t row_floats = round_up(product.rows.width, kernels.tile_rows) * longest;
    const std::uint64_t column_floats = round_up(width, kernels.tile_columns) * longest;
    const AlignedBuffer scratch(row_floats + column_floats);
    float *const panels[] = {scratch.data(), scratch.data() + row_floats};
    const Pieces column_tiles(kernels.tile_columns, width);
    const Pieces row_groups(kernels.tile_rows * row_tiles_a_task, product.rows.width);

    for (std::uint64_t token = 0; token < arguments.tokens; token += block_tokens) {
        const std::uint64_t tokens = std::min(block_tokens, arguments.tokens - token);
        // Strips as wide as a tile → panel[token][…].
        for (const int side : {0, 1})
            for_each_piece(device, Pieces(tile_widths[side], factors[side]->width), [&](Piece strip, std::int64_t) {
                read_window(*factors[side], {token, tokens, strip.begin, strip.end - strip.begin}, tokens,
                            tile_widths[side], panels[side] + strip.begin * tokens);
            });
        parallel_for(device, column_tiles.count() * row_groups.count(), [&](std::int64_t task) {
            const Piece columns = column_tiles[task % column_tiles.count()];
            const Piece group = row_groups[task / column_tiles.count()];
            float tile[max_tile];
            for (std::uint64_t row = group.begin; row < group.end; row += kernels.tile_rows) {
                kernels.multiply_tile(panels[0] + row * tokens, panels[1] + columns.begin * tokens, tokens, tile);
                const std::uint64_t end = std::min(row + kernels.tile_rows, group.end);
                for (std::uint64_t r = row; r < end; ++r)
                    for (std::uint64_t c = columns.begin; c < columns.end; ++c)
                        arguments.sums[r * width + c] +=
                            arguments.scale * tile[(r - row) * kernels.tile_columns + c - columns.begin];
            }
        });
    }
}

}  // namespace

void add_product(const speft_backend_device &device, const speft_add_product &arguments,
                 const ProductKernels &kernels) {
    if (arguments.count == 0 || arguments.tokens == 0) return;
    const Product product(arguments);
    if (arguments.indices)
        add_at_mask(device, arguments, product, kernels);
    else
        add_everywhere(device, arguments, product, kernels);
}

}  // namespace speft::cpu
