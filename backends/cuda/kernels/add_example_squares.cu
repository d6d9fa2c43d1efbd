// Squares of per-example gradients, summed. A block keeps a tile of the sums in registers and goes through all
// examples, beside the tile of the example's own gradient.
//
// Scratch: the offsets.
#include "backends/cuda/kernels/gradient_tile.h"
#include "backends/cuda/kernels/upload.h"
#include "backends/cuda/operations.h"

namespace speft::cuda {
namespace {

struct Examples {
    const std::int64_t *offsets;
    std::uint64_t examples;
    __device__ std::uint64_t count() const { return examples; }
    __device__ std::uint64_t begin(std::uint64_t example) const { return offsets[example]; }
    __device__ std::uint64_t end(std::uint64_t example) const { return offsets[example + 1]; }
};

template <class Tile>
__global__ void __launch_bounds__(block_threads)
    add_squares(const __grid_constant__ GradientFactors factors, Examples examples, float scale, float weight,
                float *sums) {
    const TileOrigin origin = find_origin(factors);
    Tile tile(factors, origin, dynamic_shared<unsigned char>());
    float own[tile_values];
    const auto at = [&](unsigned row, unsigned column) {
        return sums + (origin.row + row) * factors.columns.width + origin.column + column;
    };
    const auto is_inside = [&](unsigned row, unsigned column) {
        return origin.row + row < factors.rows.width && origin.column + column < factors.columns.width;
    };
    tile.visit([&](unsigned row, unsigned column, float, unsigned slot) {
        own[slot] = is_inside(row, column) ? *at(row, column) : 0.0f;
    });
    const auto add = [&](const Tile &example) {
        example.visit([&](unsigned, unsigned, float sum, unsigned slot) {
            const float gradient = scale * sum;
            own[slot] += weight * (gradient * gradient);
        });
    };
    if (multiply_ranges(tile, examples, add)) add(tile);
    tile.visit([&](unsigned row, unsigned column, float, unsigned slot) {
        if (is_inside(row, column)) *at(row, column) = own[slot];
    });
}

template <class Tile>
void add_in_tiles(speft_backend_device &device, const speft_add_example_squares &arguments, void *scratch) {
    const GradientFactors factors = make_factors(arguments, arguments);
    if (factors.size() == 0 || arguments.tokens == 0) return;
    auto *const offsets = static_cast<std::int64_t *>(scratch);
    upload(device, offsets, arguments.offsets, (arguments.examples + 1) * sizeof *offsets);
    launch(device, "add_example_squares", {.blocks = count_tiles(factors), .shared_bytes = Tile::shared_bytes},
           add_squares<Tile>, factors, Examples{offsets, arguments.examples}, arguments.scale, arguments.weight,
           arguments.sums);
}

}  // namespace

const char *refuse_example_squares_on_tensor_cores(const speft_backend_device *, const void *arguments) {
    const auto &squares = *static_cast<const speft_add_example_squares *>(arguments);
    return make_factors(squares, squares).are_bfloat16() ? nullptr : "x and dy are not both bfloat16";
}

std::uint64_t add_example_squares_scratch(const speft_backend_device &, const speft_add_example_squares &arguments) {
    return (arguments.examples + 1) * sizeof(std::int64_t);
}

void add_example_squares_on_tensor_cores(speft_backend_device &device, const speft_add_example_squares &arguments,
                                         void *scratch) {
    add_in_tiles<TensorCoreTile>(device, arguments, scratch);
}

void add_example_squares(speft_backend_device &device, const speft_add_example_squares &arguments, void *scratch) {
    add_in_tiles<PlainTile>(device, arguments, scratch);
}

}  // namespace speft::cuda
