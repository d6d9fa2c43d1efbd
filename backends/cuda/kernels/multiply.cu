// Dense products. A block computes a square tile of the target: strips of both factors pass through shared memory, two
// at a time, so that one is fetched while the other is multiplied.
//
// `tiles` multiplies in float32, of all types, which are converted as they are fetched. `tensor_core` takes bfloat16
// as it is. Neither depends on the alignment of its arrays; the latter fetches and stores more at once where it can.
#include <type_traits>

#include "backends/cuda/kernels/launch.h"
#include "backends/cuda/kernels/lower_tiles.h"
#include "backends/cuda/kernels/products.h"
#include "backends/cuda/kernels/scalars.h"
#include "backends/cuda/kernels/tensor_core.h"
#include "backends/cuda/operations.h"

namespace speft::cuda {
namespace {

// ---- what a block does ----

__device__ TilePlace find_tile(const TileProduct &product, unsigned side) {
    if (product.lower) return find_lower_tile(blockIdx.x);
    const auto across = static_cast<std::uint32_t>((product.columns + side - 1) / side);
    return {blockIdx.x / across, blockIdx.x % across};
}

template <class Scalar, unsigned count>
struct alignas(count * sizeof(Scalar)) Run {
    Scalar values[count];
};

// Some adjacent elements of the target from their sums.
template <unsigned count, class Scalar>
__device__ void store_run(const TileProduct &product, Scalar *target, std::uint64_t row, std::uint64_t column,
                          const float (&sums)[count]) {
    if (row >= product.rows || column >= product.columns) return;
    Scalar *const places = target + row * product.columns + column;
    const auto update = [&](Scalar before, float sum) {
        const float base = product.accumulate ? to_float(before) : 0.0f;
        return from_float<Scalar>(base + product.scale * sum);
    };
    if (product.columns % count == 0 && reinterpret_cast<std::uintptr_t>(target) % sizeof(Run<Scalar, count>) == 0) {
        auto *const run = reinterpret_cast<Run<Scalar, count> *>(places);
        Run<Scalar, count> values{};
        if (product.accumulate) values = *run;
        for (unsigned i = 0; i < count; ++i) values.values[i] = update(values.values[i], sums[i]);
        *run = values;
        return;
    }
    for (unsigned i = 0; i < count && column + i < product.columns; ++i)
        places[i] = update(product.accumulate ? places[i] : Scalar{}, sums[i]);
}

// ---- in float32, or in float64 for Gram matrices of factors ----

constexpr unsigned depth = 16;       // terms that are in shared memory at a time
constexpr unsigned quads = 16;       // of threads along either side of a tile, each with runs of 4 lines
constexpr unsigned quad_stride = 64;  // between a thread's runs
constexpr unsigned padding = 4;      // of a row in shared memory: other banks, and runs stay aligned

// A thread's part of a strip: `side` lines, `depth` terms. Neighbouring threads take what is adjacent in memory.
template <unsigned side, bool adjacent>
struct Strip {
    static constexpr unsigned count = side * depth / block_threads;
    float values[count];

    static __device__ unsigned line(unsigned i) {
        if constexpr (adjacent) return threadIdx.x % side;
        return threadIdx.x / depth + i * (block_threads / depth);
    }
    static __device__ unsigned term(unsigned i) {
        if constexpr (adjacent) return threadIdx.x / side + i * (block_threads / side);
        return threadIdx.x % depth;
    }

    // 0 outside of the factor.
    __device__ void fetch(const Factor &factor, std::uint64_t first_line, std::uint64_t lines,
                          std::uint64_t first_term, std::uint64_t terms) {
        visit_scalar(factor.type, [&](auto scalar) {
            const auto *const source = static_cast<const decltype(scalar) *>(factor.values);
#pragma unroll
            for (unsigned i = 0; i < count; ++i) {
                const std::uint64_t l = first_line + line(i), t = first_term + term(i);
                const std::uint64_t place = adjacent ? t * factor.stride + l : l * factor.stride + t;
                values[i] = l < lines && t < terms ? to_float(source[place]) : 0.0f;
            }
        });
    }

    __device__ void store(float (&rows)[depth][side + padding]) const {
#pragma unroll
        for (unsigned i = 0; i < count; ++i) rows[term(i)][line(i)] = values[i];
    }
};

__device__ float multiply_add(float a, float b, float sum) { return fmaf(a, b, sum); }
__device__ double multiply_add(float a, float b, double sum) { return fma(double{a}, double{b}, sum); }

template <class Sum, unsigned side, bool a_adjacent, bool b_adjacent>
__global__ void __launch_bounds__(block_threads, 2) multiply_tile(const __grid_constant__ TileProduct product) {
    constexpr unsigned runs = side / quad_stride, width = 4 * runs;
    alignas(16) __shared__ float a_rows[2][depth][side + padding], b_rows[2][depth][side + padding];
    const TilePlace tile = find_tile(product, side);
    const std::uint64_t first_row = std::uint64_t{tile.row} * side, first_column = std::uint64_t{tile.column} * side;
    const unsigned y = threadIdx.x / quads * 4, x = threadIdx.x % quads * 4;
    Strip<side, a_adjacent> a;
    Strip<side, b_adjacent> b;
    Sum sums[width][width] = {};
    unsigned current = 0;
    for (std::uint64_t term = 0; term < product.terms + depth; term += depth) {
        const bool more = term < product.terms;
        if (more) {
            a.fetch(product.a, first_row, product.rows, term, product.terms);
            b.fetch(product.b, first_column, product.columns, term, product.terms);
        }
        if (term > 0) {
            const auto &a_strip = a_rows[current], &b_strip = b_rows[current];
#pragma unroll
            for (unsigned t = 0; t < depth; ++t) {
                float a_lines[width], b_lines[width];
#pragma unroll
                for (unsigned run = 0; run < runs; ++run) {
                    const auto a_run = *reinterpret_cast<const float4 *>(&a_strip[t][run * quad_stride + y]);
                    const auto b_run = *reinterpret_cast<const float4 *>(&b_strip[t][run * quad_stride + x]);
                    a_lines[run * 4] = a_run.x, a_lines[run * 4 + 1] = a_run.y;
                    a_lines[run * 4 + 2] = a_run.z, a_lines[run * 4 + 3] = a_run.w;
                    b_lines[run * 4] = b_run.x, b_lines[run * 4 + 1] = b_run.y;
                    b_lines[run * 4 + 2] = b_run.z, b_lines[run * 4 + 3] = b_run.w;
                }
#pragma unroll
                for (unsigned i = 0; i < width; ++i)
#pragma unroll
                    for (unsigned j = 0; j < width; ++j)
                        sums[i][j] = multiply_add(a_lines[i], b_lines[j], sums[i][j]);
            }
        }
        current ^= 1;
        if (more) {
            a.store(a_rows[current]);
            b.store(b_rows[current]);
        }
        __syncthreads();
    }
    const auto for_each_run = [&](auto &&store) {
#pragma unroll
        for (unsigned i = 0; i < width; ++i)
#pragma unroll
            for (unsigned run = 0; run < runs; ++run)
                store(first_row + i / 4 * quad_stride + y + i % 4, first_column + run * quad_stride + x, i, run * 4);
    };
    if constexpr (std::is_same_v<Sum, double>) {
        for_each_run([&](std::uint64_t row, std::uint64_t column, unsigned i, unsigned j) {
#pragma unroll
            for (unsigned k = 0; k < 4; ++k)
                if (row < product.rows && column + k < product.columns)
                    static_cast<double *>(product.target)[row * product.columns + column + k] = sums[i][j + k];
        });
    } else {
        visit_scalar(product.target_type, [&](auto scalar) {
            for_each_run([&](std::uint64_t row, std::uint64_t column, unsigned i, unsigned j) {
                const float run[4] = {sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3]};
                store_run(product, static_cast<decltype(scalar) *>(product.target), row, column, run);
            });
        });
    }
}

// ---- of bfloat16, on tensor cores ----

constexpr unsigned deep = 32;           // terms that are in shared memory at a time
constexpr unsigned pairs = deep / 2;    // a word holds two terms of a line
constexpr unsigned chunk = 8;           // elements that are fetched at once: 16 bytes
constexpr unsigned warps_across = 4;    // of a block's 8
constexpr unsigned line_words = pairs + 4;  // of a line in shared memory: lanes meet different banks

// Up to 8 adjacent elements, 0 beyond `count`.
__device__ uint4 fetch_chunk(const std::uint16_t *source, std::uint64_t count, bool at_once) {
    if (at_once) return count > 0 ? *reinterpret_cast<const uint4 *>(source) : make_uint4(0, 0, 0, 0);
    std::uint32_t words[4];
#pragma unroll
    for (unsigned word = 0; word < 4; ++word) {
        const std::uint32_t low = 2 * word < count ? source[2 * word] : 0;
        const std::uint32_t high = 2 * word + 1 < count ? source[2 * word + 1] : 0;
        words[word] = low | high << 16;
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
}

__device__ std::uint64_t count_left(std::uint64_t place, std::uint64_t end) { return place < end ? end - place : 0; }

// As Strip, in words of two terms.
template <unsigned side, bool adjacent>
struct WordStrip {
    static constexpr unsigned words = side * line_words;
    // Where lines are adjacent they stay so: two rows of terms are woven into one of words.
    static constexpr unsigned row_words = side + 8;
    static constexpr unsigned tasks = adjacent ? pairs * side / chunk : side * deep / chunk;
    static constexpr unsigned count = (tasks + block_threads - 1) / block_threads;
    static_assert(!adjacent || pairs * row_words <= words);
    uint4 values[count][adjacent ? 2 : 1];

    static __device__ unsigned word_of(unsigned line, unsigned pair) {
        return adjacent ? pair * row_words + line : line * line_words + pair;
    }

    __device__ void fetch(const Factor &factor, bool at_once, std::uint64_t first_line, std::uint64_t lines,
                          std::uint64_t first_term, std::uint64_t terms) {
        const auto *const source = static_cast<const std::uint16_t *>(factor.values);
#pragma unroll
        for (unsigned i = 0; i < count; ++i) {
            const unsigned task = threadIdx.x + i * block_threads;
            if constexpr (adjacent) {
                const std::uint64_t line = first_line + task % (side / chunk) * chunk;
                const std::uint64_t term = first_term + task / (side / chunk) * 2;
                const std::uint64_t left = task < tasks ? count_left(line, lines) : 0;
#pragma unroll
                for (unsigned k = 0; k < 2; ++k)
                    values[i][k] = fetch_chunk(source + (term + k) * factor.stride + line,
                                               term + k < terms ? left : 0, at_once);
            } else {
                const std::uint64_t line = first_line + task / (deep / chunk);
                const std::uint64_t term = first_term + task % (deep / chunk) * chunk;
                values[i][0] = fetch_chunk(source + line * factor.stride + term,
                                           line < lines ? count_left(term, terms) : 0, at_once);
            }
        }
    }

    __device__ void store(std::uint32_t (&strip)[words]) const {
#pragma unroll
        for (unsigned i = 0; i < count; ++i) {
            const unsigned task = threadIdx.x + i * block_threads;
            if (task >= tasks) break;
            if constexpr (adjacent) {
                const uint4 low = values[i][0], high = values[i][1];
                auto *const target = reinterpret_cast<uint4 *>(
                    &strip[word_of(task % (side / chunk) * chunk, task / (side / chunk))]);
                target[0] = make_uint4(weave_even(low.x, high.x), weave_odd(low.x, high.x), weave_even(low.y, high.y),
                                       weave_odd(low.y, high.y));
                target[1] = make_uint4(weave_even(low.z, high.z), weave_odd(low.z, high.z), weave_even(low.w, high.w),
                                       weave_odd(low.w, high.w));
            } else {
                *reinterpret_cast<uint4 *>(
                    &strip[word_of(task / (deep / chunk), task % (deep / chunk) * (chunk / 2))]) = values[i][0];
            }
        }
    }

private:
    static __device__ std::uint32_t weave_even(std::uint32_t low, std::uint32_t high) {
        return (low & 0xffffu) | high << 16;
    }
    static __device__ std::uint32_t weave_odd(std::uint32_t low, std::uint32_t high) {
        return low >> 16 | (high & 0xffff0000u);
    }
};

// A warp has half of the tile's rows and a quarter of its columns.
template <unsigned side, bool b_adjacent>
__global__ void __launch_bounds__(block_threads, 2)
    multiply_tensor_tile(const __grid_constant__ TileProduct product, bool a_at_once, bool b_at_once) {
    using A = WordStrip<side, false>;
    using B = WordStrip<side, b_adjacent>;
    constexpr unsigned count = side / 32;  // of products of 16 · 8 along either side of a warp's part
    alignas(16) __shared__ std::uint32_t a_words[2][A::words], b_words[2][B::words];
    const TilePlace tile = find_tile(product, side);
    const std::uint64_t first_row = std::uint64_t{tile.row} * side, first_column = std::uint64_t{tile.column} * side;
    const unsigned warp = threadIdx.x / warp_threads, group = threadIdx.x % warp_threads / 4, t = threadIdx.x % 4;
    const unsigned row = warp / warps_across * (side / 2) + group;
    const unsigned column = warp % warps_across * (side / warps_across);
    A a;
    B b;
    float sums[count][count][4] = {};
    unsigned current = 0;
    for (std::uint64_t term = 0; term < product.terms + deep; term += deep) {
        const bool more = term < product.terms;
        if (more) {
            a.fetch(product.a, a_at_once, first_row, product.rows, term, product.terms);
            b.fetch(product.b, b_at_once, first_column, product.columns, term, product.terms);
        }
        if (term > 0) {
            const auto &a_strip = a_words[current];
            const auto &b_strip = b_words[current];
#pragma unroll
            for (unsigned pair = t; pair < pairs; pair += 8) {
                std::uint32_t a_parts[count][4], b_parts[count][2];
#pragma unroll
                for (unsigned i = 0; i < count; ++i) {
                    a_parts[i][0] = a_strip[A::word_of(row + 16 * i, pair)];
                    a_parts[i][1] = a_strip[A::word_of(row + 16 * i + 8, pair)];
                    a_parts[i][2] = a_strip[A::word_of(row + 16 * i, pair + 4)];
                    a_parts[i][3] = a_strip[A::word_of(row + 16 * i + 8, pair + 4)];
                    b_parts[i][0] = b_strip[B::word_of(column + 8 * i + group, pair)];
                    b_parts[i][1] = b_strip[B::word_of(column + 8 * i + group, pair + 4)];
                }
#pragma unroll
                for (unsigned i = 0; i < count; ++i)
#pragma unroll
                    for (unsigned j = 0; j < count; ++j) mma_m16n8k16(sums[i][j], a_parts[i], b_parts[j]);
            }
        }
        current ^= 1;
        if (more) {
            a.store(a_words[current]);
            b.store(b_words[current]);
        }
        __syncthreads();
    }
    visit_scalar(product.target_type, [&](auto scalar) {
        auto *const target = static_cast<decltype(scalar) *>(product.target);
#pragma unroll
        for (unsigned i = 0; i < count; ++i)
#pragma unroll
            for (unsigned j = 0; j < count; ++j)
#pragma unroll
                for (unsigned half = 0; half < 2; ++half) {
                    const float run[2] = {sums[i][j][2 * half], sums[i][j][2 * half + 1]};
                    store_run(product, target, first_row + row + 16 * i + 8 * half,
                              first_column + column + 8 * j + 2 * t, run);
                }
    });
}

// ---- launches ----

constexpr unsigned large_side = 128, small_side = 64;

std::uint64_t count_tiles(const TileProduct &product, unsigned side) {
    const std::uint64_t rows = (product.rows + side - 1) / side, columns = (product.columns + side - 1) / side;
    return product.lower ? count_lower_tiles(rows) : rows * columns;
}

// Large tiles fetch less; small ones keep more of the GPU busy where there are few.
bool are_large_tiles_enough(const speft_backend_device &device, const TileProduct &product) {
    return count_tiles(product, large_side) >= static_cast<std::uint64_t>(device.multiprocessors);
}

Grid tiles_of(const TileProduct &product, unsigned side) {
    return {.blocks = dim3(static_cast<unsigned>(count_tiles(product, side)))};
}

template <class Sum, unsigned side>
void launch_tiles(const speft_backend_device &device, const char *name, const TileProduct &product) {
    const auto kernel = !product.b.lines_adjacent  ? multiply_tile<Sum, side, false, false>
                        : product.a.lines_adjacent ? multiply_tile<Sum, side, true, true>
                                                   : multiply_tile<Sum, side, false, true>;
    launch(device, name, tiles_of(product, side), kernel, product);
}

template <unsigned side>
void launch_tensor_tiles(const speft_backend_device &device, const TileProduct &product) {
    const auto at_once = [](const Factor &factor, std::uint64_t adjacent) {
        return reinterpret_cast<std::uintptr_t>(factor.values) % sizeof(uint4) == 0 && adjacent % chunk == 0;
    };
    launch(device, "multiply", tiles_of(product, side),
           product.b.lines_adjacent ? multiply_tensor_tile<side, true> : multiply_tensor_tile<side, false>, product,
           at_once(product.a, product.terms),
           at_once(product.b, product.b.lines_adjacent ? product.columns : product.terms));
}

TileProduct product_of(const speft_multiply &m) {
    return {.a = {m.a, m.a_type, false, m.inner},
            .b = {m.b, m.b_type, m.b_transposed == 0, m.b_transposed ? m.inner : m.columns},
            .rows = m.rows,
            .columns = m.columns,
            .terms = m.inner,
            .target = m.target,
            .target_type = m.target_type,
            .accumulate = m.accumulate != 0,
            .lower = false,
            .scale = m.scale};
}

}  // namespace

void multiply_by_tiles(const speft_backend_device &device, const char *name, const TileProduct &product) {
    if (are_large_tiles_enough(device, product))
        launch_tiles<float, large_side>(device, name, product);
    else
        launch_tiles<float, small_side>(device, name, product);
}

void find_gram(const speft_backend_device &device, const char *name, const Factor &lines, std::uint64_t size,
               std::uint64_t terms, double *gram) {
    launch_tiles<double, small_side>(device, name,
                                     {.a = lines,
                                      .b = lines,
                                      .rows = size,
                                      .columns = size,
                                      .terms = terms,
                                      .target = gram,
                                      .target_type = 0,
                                      .accumulate = false,
                                      .lower = true,
                                      .scale = 1});
}

void multiply(speft_backend_device &device, const speft_multiply &arguments, void *) {
    multiply_by_tiles(device, "multiply", product_of(arguments));
}

const char *refuse_multiply_on_tensor_cores(const speft_backend_device *, const void *arguments) {
    const auto &m = *static_cast<const speft_multiply *>(arguments);
    return m.a_type == SPEFT_SCALAR_BFLOAT16 && m.b_type == SPEFT_SCALAR_BFLOAT16 ? nullptr
                                                                                  : "both factors must be bfloat16";
}

void multiply_on_tensor_cores(speft_backend_device &device, const speft_multiply &arguments, void *) {
    const TileProduct product = product_of(arguments);
    if (are_large_tiles_enough(device, product))
        launch_tensor_tiles<large_side>(device, product);
    else
        launch_tensor_tiles<small_side>(device, product);
}

void add_gram(speft_backend_device &device, const speft_add_gram &arguments, void *) {
    const bool of_columns = arguments.of_columns != 0;
    const Factor lines = {arguments.matrix, SPEFT_SCALAR_FLOAT32, of_columns, arguments.columns};
    const std::uint64_t size = of_columns ? arguments.columns : arguments.rows;
    multiply_by_tiles(device, "add_gram",
                      {.a = lines,
                       .b = lines,
                       .rows = size,
                       .columns = size,
                       .terms = of_columns ? arguments.rows : arguments.columns,
                       .target = arguments.gram,
                       .target_type = SPEFT_SCALAR_FLOAT32,
                       .accumulate = true,
                       .lower = true,
                       .scale = arguments.factor});
}

}  // namespace speft::cuda
