// A gradient from activations, at a mask or everywhere: in dense tiles, of which only the selected scalars leave the
// registers, or scalar by scalar.
//
// In tiles: where each tile's rows begin in the mask is looked up first, and a tile without a selected scalar does not
// start. Scratch: 4 bytes for 128 scalars of the weight; none without a mask.
//
// Scalar by scalar: both factors are turned, so that the tokens of a column lie together; a warp takes some scalars
// that follow each other in the mask and mostly share their row. Scratch: the turned factors, of as many tokens at a
// time as fit in 64 MiB, or of 256.
//
// And squares of per-example gradients, summed: a block keeps a tile of the sums in registers and goes through all
// examples, beside the tile of the example's own gradient. Scratch: the offsets.
#include "backends/cuda/kernels/add_product.h"

#include <algorithm>
#include <type_traits>

#include "backends/cuda/kernels/gradient_cost.h"
#include "backends/cuda/kernels/gradient_tile.h"
#include "backends/cuda/kernels/upload.h"
#include "backends/cuda/operations.h"

namespace speft::cuda {
namespace {

bool is_empty(const speft_add_product &arguments) { return arguments.count == 0 || arguments.tokens == 0; }

// ---- in tiles ----

// Where the selected scalars of each row of each tile begin: starts[row · tiles in a row + tile], and the end.
struct TileMask {
    const std::uint32_t *indices;
    const std::uint32_t *starts;
};

__device__ std::uint64_t count_across(const GradientFactors &factors) {
    return (factors.columns.width + tile_side - 1) / tile_side;
}

__global__ void find_starts(const std::uint32_t *indices, std::uint64_t count,
                            const __grid_constant__ GradientFactors factors, std::uint32_t *starts) {
    const std::uint64_t across = count_across(factors), all = factors.rows.width * across;
    for (std::uint64_t i = first_item(); i <= all; i += item_stride()) {
        const std::uint64_t first = i / across * factors.columns.width + i % across * tile_side;
        std::uint64_t low = 0, high = count;
        while (low < high) {
            const std::uint64_t middle = (low + high) / 2;
            if (indices[middle] < first)
                low = middle + 1;
            else
                high = middle;
        }
        starts[i] = static_cast<std::uint32_t>(low);
    }
}

constexpr unsigned half_rows = tile_side / 2, half_pitch = tile_side + 4;

// The slabs', and then a half's.
template <class Tile>
constexpr std::size_t tile_shared_bytes = std::max(Tile::shared_bytes, half_rows * half_pitch * sizeof(float));

// How much of a tile lies inside of the weight.
__device__ unsigned count_inside(std::uint64_t width, std::uint64_t origin) {
    return static_cast<unsigned>(min(width - origin, std::uint64_t{tile_side}));
}

// body(first, half) for each half of the tile: its first row, of `rows`, and its sums in shared memory. The slabs of
// the product are no longer needed.
template <class Tile, class Body>
__device__ void for_each_half(const Tile &tile, unsigned rows, Body &&body) {
    float *const half = dynamic_shared<float>();
    for (unsigned first = 0; first < rows; first += half_rows) {
        __syncthreads();
        tile.visit([&](unsigned row, unsigned column, float sum, unsigned) {
            if (row / half_rows * half_rows == first) half[row % half_rows * half_pitch + column] = sum;
        });
        __syncthreads();
        body(first, half);
    }
}

template <class Tile>
__global__ void __launch_bounds__(block_threads, 2)
    add_tiles(const __grid_constant__ GradientFactors factors, std::uint64_t tokens, float scale, float *sums) {
    const TileOrigin origin = find_origin(factors);
    Tile tile(factors, origin, dynamic_shared<unsigned char>());
    multiply_tokens(tile, tokens);
    const std::uint64_t width = factors.columns.width;
    const unsigned rows = count_inside(factors.rows.width, origin.row), columns = count_inside(width, origin.column);
    for_each_half(tile, rows, [&](unsigned first, const float *half) {
        const unsigned column = threadIdx.x % tile_side, last = min(first + half_rows, rows);
        if (column >= columns) return;
        float *const target = sums + origin.row * width + origin.column + column;
#pragma unroll 4
        for (unsigned row = first + threadIdx.x / tile_side; row < last; row += block_threads / tile_side)
            target[row * width] += scale * half[(row - first) * half_pitch + column];
    });
}

template <class Tile>
__global__ void __launch_bounds__(block_threads, 2)
    add_tiles_at_mask(const __grid_constant__ GradientFactors factors, std::uint64_t tokens, float scale, float *sums,
                      TileMask mask) {
    const TileOrigin origin = find_origin(factors);
    const std::uint64_t across = count_across(factors);
    const std::uint32_t *const starts = mask.starts + origin.row * across + origin.column / tile_side;
    const unsigned rows = count_inside(factors.rows.width, origin.row);
    const std::uint32_t selected =
        threadIdx.x < rows ? starts[threadIdx.x * across + 1] - starts[threadIdx.x * across] : 0;
    if (block_sum(selected) == 0) return;
    Tile tile(factors, origin, dynamic_shared<unsigned char>());
    multiply_tokens(tile, tokens);
    for_each_half(tile, rows, [&](unsigned first, const float *half) {
        constexpr unsigned row_threads = 8;
        const unsigned last = min(first + half_rows, rows);
        for (unsigned row = first + threadIdx.x / row_threads; row < last; row += block_threads / row_threads) {
            const std::uint64_t first_index = (origin.row + row) * factors.columns.width + origin.column;
            const std::uint32_t end = starts[row * across + 1];
            for (std::uint64_t j = starts[row * across] + threadIdx.x % row_threads; j < end; j += row_threads)
                sums[j] += scale * half[(row - first) * half_pitch + (mask.indices[j] - first_index)];
        }
    });
}

std::uint64_t count_starts(const GradientFactors &factors) {
    return factors.rows.width * divide_up(factors.columns.width, tile_side) + 1;
}

template <class Tile>
void add_in_tiles(speft_backend_device &device, const speft_add_product &arguments, void *scratch) {
    if (is_empty(arguments)) return;
    const GradientFactors factors = make_factors(arguments, arguments);
    if (!arguments.indices)
        return add_everywhere(device, "add_product", factors, arguments.tokens, arguments.scale, arguments.sums,
                              std::is_same_v<Tile, TensorCoreTile>);
    auto *const starts = static_cast<std::uint32_t *>(scratch);
    launch(device, "add_product", {.blocks = count_blocks(device, count_starts(factors), block_threads)}, find_starts,
           arguments.indices, arguments.count, factors, starts);
    launch(device, "add_product",
           {.blocks = count_tiles(factors), .shared_bytes = tile_shared_bytes<Tile>},
           add_tiles_at_mask<Tile>, factors, arguments.tokens, arguments.scale, arguments.sums,
           TileMask{arguments.indices, starts});
}

// ---- scalar by scalar ----

constexpr unsigned turned_side = 64;    // of what a block turns
constexpr unsigned lane_tokens = 8;     // that a lane takes at once
constexpr unsigned warp_scalars = 4;    // that a warp takes
constexpr unsigned block_scalars = block_threads / warp_threads * warp_scalars;
constexpr std::uint64_t turned_bytes = 64 << 20, fewest_tokens = 256, most_tokens = 1 << 20;

__device__ float4 pack(const float (&values)[4]) {
    return make_float4(values[0], values[1], values[2], values[3]);
}

template <class Half>
__device__ uint4 pack(const Half (&values)[8]) {
    const auto pair = [&](unsigned i) { return values[i].bits | static_cast<std::uint32_t>(values[i + 1].bits) << 16; };
    return make_uint4(pair(0), pair(2), pair(4), pair(6));
}

// turned[column · stride + token] for the tokens from `token` on; those from `end` to `stride` are zeros.
template <class Source, class Target>
__global__ void turn(const __grid_constant__ GradientFactor factor, std::uint64_t token, std::uint64_t end,
                     std::uint64_t stride, Target *turned) {
    __shared__ Target block[turned_side][turned_side + 2];
    const auto *const source = static_cast<const Source *>(factor.values);
    const std::uint64_t first_column = std::uint64_t{blockIdx.x} * turned_side;
    const std::uint64_t first_token = std::uint64_t{blockIdx.y} * turned_side;
#pragma unroll
    for (unsigned i = 0; i < turned_side * turned_side / block_threads; ++i) {
        const unsigned row = threadIdx.x / turned_side + i * (block_threads / turned_side);
        const std::uint64_t own = token + first_token + row, column = first_column + threadIdx.x % turned_side;
        Target value{};
        if (own < end && column < factor.width) {
            if constexpr (std::is_same_v<Source, Target>)
                value = source[own * factor.stride + column];
            else
                value = to_float(source[own * factor.stride + column]);
        }
        block[row][threadIdx.x % turned_side] = value;
    }
    __syncthreads();
    constexpr unsigned some = sizeof(uint4) / sizeof(Target), threads_a_column = turned_side / some;
#pragma unroll
    for (unsigned i = 0; i < turned_side * threads_a_column / block_threads; ++i) {
        const unsigned column = threadIdx.x / threads_a_column + i * (block_threads / threads_a_column);
        const unsigned row = threadIdx.x % threads_a_column * some;
        if (first_column + column >= factor.width || first_token + row >= stride) continue;
        Target values[some];
#pragma unroll
        for (unsigned t = 0; t < some; ++t) values[t] = block[row + t][column];
        const auto packed = pack(values);
        using Packed = std::remove_const_t<decltype(packed)>;
        // Counted in whole vectors: nvcc splits the store where the address is of other parts.
        reinterpret_cast<Packed *>(turned)[((first_column + column) * stride + first_token + row) / some] = packed;
    }
}

// Eight neighbouring tokens, aligned to 16 bytes.
template <class Scalar>
struct alignas(16) Tokens {
    Scalar values[lane_tokens];
};

struct Gathered {
    const std::uint32_t *indices;  // or NULL: all
    std::uint64_t count;
    std::uint64_t width;   // of a row of the weight
    std::uint64_t stride;  // tokens from a turned column to the next
    float scale;
    float *sums;
};

// Four sums over all lanes: the i-th one in the i-th quarter of the warp.
__device__ float sum_over_lanes(const float (&sums)[warp_scalars]) {
    static_assert(warp_scalars == 4);
    // The halves of the warp share out the four, then the quarters two: half as many shuffles each time.
    const bool upper = lane() & 16, odd = lane() & 8;
    float two[2];
    for (unsigned i = 0; i < 2; ++i)
        two[i] = (upper ? sums[2 + i] : sums[i]) + __shfl_xor_sync(full_warp, upper ? sums[i] : sums[2 + i], 16);
    float sum = (odd ? two[1] : two[0]) + __shfl_xor_sync(full_warp, odd ? two[0] : two[1], 8);
    for (unsigned distance = 4; distance > 0; distance /= 2) sum += __shfl_xor_sync(full_warp, sum, distance);
    return sum;
}

template <class Scalar>
__global__ void gather(Gathered gathered, const Scalar *rows, const Scalar *columns) {
    const std::uint64_t first =
        (std::uint64_t{blockIdx.x} * (block_threads / warp_threads) + warp()) * warp_scalars;
    if (first >= gathered.count) return;  // a whole warp; there is no barrier
    const Scalar *row_of[warp_scalars], *column_of[warp_scalars];
#pragma unroll
    for (unsigned i = 0; i < warp_scalars; ++i) {
        const std::uint64_t j = min(first + i, gathered.count - 1);
        const std::uint64_t index = gathered.indices ? gathered.indices[j] : j;
        const std::uint64_t row = index / gathered.width;
        row_of[i] = rows + row * gathered.stride;
        column_of[i] = columns + (index - row * gathered.width) * gathered.stride;
    }
    float sums[warp_scalars] = {};
    for (std::uint64_t token = lane() * lane_tokens; token < gathered.stride; token += warp_threads * lane_tokens) {
        Tokens<Scalar> x[warp_scalars], dy;
#pragma unroll
        for (unsigned i = 0; i < warp_scalars; ++i)
            x[i] = *reinterpret_cast<const Tokens<Scalar> *>(column_of[i] + token);
#pragma unroll
        for (unsigned i = 0; i < warp_scalars; ++i) {
            if (i == 0 || row_of[i] != row_of[i - 1]) dy = *reinterpret_cast<const Tokens<Scalar> *>(row_of[i] + token);
#pragma unroll
            for (unsigned t = 0; t < lane_tokens; ++t)
                sums[i] = fmaf(to_float(dy.values[t]), to_float(x[i].values[t]), sums[i]);
        }
    }
    const float sum = sum_over_lanes(sums);
    const std::uint64_t own = first + lane() / (warp_threads / warp_scalars);
    if (lane() % (warp_threads / warp_scalars) == 0 && own < gathered.count)
        gathered.sums[own] += gathered.scale * sum;
}

// Factors of one type stay what they are; others become float32.
std::int32_t choose_turned_type(const speft_add_product &arguments) {
    return arguments.x_type == arguments.dy_type ? arguments.x_type : SPEFT_SCALAR_FLOAT32;
}

std::uint64_t count_turned_tokens(const speft_add_product &arguments) {
    const std::uint64_t token_bytes = (arguments.in + arguments.out) * scalar_bytes(choose_turned_type(arguments));
    const std::uint64_t fitting = std::clamp(turned_bytes / token_bytes / lane_tokens * lane_tokens, fewest_tokens,
                                             most_tokens);
    return std::min(fitting, round_up(arguments.tokens, lane_tokens));
}

template <class Target>
class Gathering {
public:
    Gathering(const speft_backend_device &device, const speft_add_product &arguments, void *scratch)
        : device_(device), arguments_(arguments), factors_(make_factors(arguments, arguments)),
          stride_(count_turned_tokens(arguments)), rows_(static_cast<Target *>(scratch)),
          columns_(rows_ + factors_.rows.width * stride_) {}

    void run() const {
        const auto blocks = static_cast<unsigned>(divide_up(arguments_.count, block_scalars));
        for (std::uint64_t token = 0; token < arguments_.tokens; token += stride_) {
            const std::uint64_t end = std::min(token + stride_, arguments_.tokens);
            const std::uint64_t stride = round_up(end - token, lane_tokens);
            turn_factor(factors_.rows, token, end, stride, rows_);
            turn_factor(factors_.columns, token, end, stride, columns_);
            const Gathered gathered = {arguments_.indices, arguments_.count, factors_.columns.width,
                                       stride,             arguments_.scale, arguments_.sums};
            launch(device_, "add_product", {.blocks = blocks}, gather<Target>, gathered, rows_, columns_);
        }
    }

private:
    void turn_factor(const GradientFactor &factor, std::uint64_t token, std::uint64_t end, std::uint64_t stride,
                     Target *turned) const {
        const dim3 blocks(static_cast<unsigned>(divide_up(factor.width, turned_side)),
                          static_cast<unsigned>(divide_up(stride, turned_side)));
        choose_scalar(factor.type, [&](auto scalar) {
            using Source = decltype(scalar);
            if constexpr (std::is_same_v<Source, Target> || std::is_same_v<Target, float>)
                launch(device_, "add_product", {.blocks = blocks}, turn<Source, Target>, factor, token, end, stride,
                       turned);
        });
    }

    const speft_backend_device &device_;
    const speft_add_product &arguments_;
    const GradientFactors factors_;
    const std::uint64_t stride_;  // of whole slices
    Target *const rows_;
    Target *const columns_;
};

// ---- squares of each example ----

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
void add_squares_in_tiles(speft_backend_device &device, const speft_add_example_squares &arguments, void *scratch) {
    const GradientFactors factors = make_factors(arguments, arguments);
    if (factors.size() == 0 || arguments.tokens == 0) return;
    auto *const offsets = static_cast<std::int64_t *>(scratch);
    upload(device, offsets, arguments.offsets, (arguments.examples + 1) * sizeof *offsets);
    launch(device, "add_example_squares", {.blocks = count_tiles(factors), .shared_bytes = Tile::shared_bytes},
           add_squares<Tile>, factors, Examples{offsets, arguments.examples}, arguments.scale, arguments.weight,
           arguments.sums);
}

}  // namespace

void add_everywhere(const speft_backend_device &device, const char *operation, const GradientFactors &factors,
                    std::uint64_t tokens, float scale, float *sums, bool tensor_cores) {
    const auto add = [&]<class Tile>(void (*kernel)(GradientFactors, std::uint64_t, float, float *)) {
        launch(device, operation, {.blocks = count_tiles(factors), .shared_bytes = tile_shared_bytes<Tile>}, kernel,
               factors, tokens, scale, sums);
    };
    if (tensor_cores && factors.are_bfloat16())
        add.template operator()<TensorCoreTile>(add_tiles<TensorCoreTile>);
    else
        add.template operator()<PlainTile>(add_tiles<PlainTile>);
}

const char *refuse_gather_where_tiles_are_cheaper(const speft_backend_device *device, const void *arguments) {
    const auto &product = *static_cast<const speft_add_product *>(arguments);
    if (is_empty(product)) return nullptr;
    const GradientFactors factors = make_factors(product, product);
    const GradientShape shape = {.selected = product.count,
                                 .rows = factors.rows.width,
                                 .columns = factors.columns.width,
                                 .scalar_bytes = scalar_bytes(choose_turned_type(product)),
                                 .tensor_cores = factors.are_bfloat16(),
                                 .multiprocessors = static_cast<std::uint64_t>(device->multiprocessors)};
    return product.indices && is_gather_cheaper(shape) ? nullptr : "dense tiles are cheaper at so many scalars";
}

const char *refuse_product_on_tensor_cores(const speft_backend_device *, const void *arguments) {
    const auto &product = *static_cast<const speft_add_product *>(arguments);
    return make_factors(product, product).are_bfloat16() ? nullptr : "x and dy are not both bfloat16";
}

std::uint64_t add_product_in_tiles_scratch(const speft_backend_device &, const speft_add_product &arguments) {
    if (is_empty(arguments) || !arguments.indices) return 0;
    return count_starts(make_factors(arguments, arguments)) * sizeof(std::uint32_t);
}

void add_product_on_tensor_cores(speft_backend_device &device, const speft_add_product &arguments, void *scratch) {
    add_in_tiles<TensorCoreTile>(device, arguments, scratch);
}

void add_product_in_tiles(speft_backend_device &device, const speft_add_product &arguments, void *scratch) {
    add_in_tiles<PlainTile>(device, arguments, scratch);
}

std::uint64_t add_product_scratch(const speft_backend_device &, const speft_add_product &arguments) {
    if (is_empty(arguments)) return 0;
    return (arguments.in + arguments.out) * count_turned_tokens(arguments) *
           scalar_bytes(choose_turned_type(arguments));
}

void add_product(speft_backend_device &device, const speft_add_product &arguments, void *scratch) {
    if (is_empty(arguments)) return;
    choose_scalar(choose_turned_type(arguments), [&](auto scalar) {
        Gathering<decltype(scalar)>(device, arguments, scratch).run();
    });
}

const char *refuse_example_squares_on_tensor_cores(const speft_backend_device *, const void *arguments) {
    const auto &squares = *static_cast<const speft_add_example_squares *>(arguments);
    return make_factors(squares, squares).are_bfloat16() ? nullptr : "x and dy are not both bfloat16";
}

std::uint64_t add_example_squares_scratch(const speft_backend_device &, const speft_add_example_squares &arguments) {
    return (arguments.examples + 1) * sizeof(std::int64_t);
}

void add_example_squares_on_tensor_cores(speft_backend_device &device, const speft_add_example_squares &arguments,
                                         void *scratch) {
    add_squares_in_tiles<TensorCoreTile>(device, arguments, scratch);
}

void add_example_squares(speft_backend_device &device, const speft_add_example_squares &arguments, void *scratch) {
    add_squares_in_tiles<PlainTile>(device, arguments, scratch);
}

}  // namespace speft::cuda
