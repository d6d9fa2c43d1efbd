// A product of activations with a weight of codes, to some of whose scalars values are added. No array of the weight's
// size is made: many rows of activations are multiplied with tiles of it, decoded into shared memory; a few rows with
// codes as they are read, for then reading them is all the time there is.
//
// Where there are too few tiles or columns for a GPU, several blocks each take a part of a sum; a last launch adds the
// parts up in order.
//
// Scratch: where the indices of each of the weight's rows start, and the parts of sums.
#include "backends/cuda/kernels/block.h"
#include "backends/cuda/kernels/codes.h"
#include "backends/cuda/kernels/scalars.h"
#include "backends/cuda/operations.h"

namespace speft::cuda {
namespace {

constexpr unsigned warps_per_block = block_threads / warp_threads;

// target [rows, columns] from a [rows, inner].
struct Product {
    const void *a;
    void *target;
    CodedWeight weight;  // [b_rows, b_columns]
    const std::uint32_t *indices;
    const void *values;
    const std::uint32_t *starts;  // [b_rows + 1] of indices, or NULL where there are none
    std::uint64_t rows, inner, columns;
    std::uint32_t b_rows, b_columns;
    std::int32_t a_type, target_type, values_type;
    bool accumulate;
    float scale;
    std::uint32_t parts;  // of each sum
    float *sums;          // [parts][rows][columns], where there are several

    __device__ float activation(std::uint64_t row, std::uint64_t q) const { return load(a, a_type, row * inner + q); }

    // The sum at (row, column), or its part of that number.
    __device__ void put(std::uint32_t part, std::uint64_t row, std::uint64_t column, float sum) const {
        if (parts > 1)
            sums[(part * rows + row) * columns + column] = sum;
        else
            write(row * columns + column, sum);
    }

    __device__ void write(std::uint64_t place, float sum) const {
        visit_scalar(target_type, [&](auto scalar) {
            auto &element = static_cast<decltype(scalar) *>(target)[place];
            const float base = accumulate ? to_float(element) : 0.0f;
            element = from_float<decltype(scalar)>(base + scale * sum);
        });
    }
};

__global__ void add_parts(const __grid_constant__ Product m) {
    const std::uint64_t size = m.rows * m.columns;
    for (std::uint64_t i = first_item(); i < size; i += item_stride()) {
        float sum = m.sums[i];
        for (std::uint32_t part = 1; part < m.parts; ++part) sum += m.sums[part * size + i];
        m.write(i, sum);
    }
}

// Index j tells the starts of all lines after its predecessor's up to its own, the end those of the rest. Long runs of
// lines without an index are written by a whole warp.
__global__ void mark_starts(const std::uint32_t *indices, std::uint32_t count, const __grid_constant__ Divider width,
                            std::uint32_t lines, std::uint32_t *starts) {
    constexpr std::uint32_t alone = 8;
    const std::uint64_t stride = item_stride();
    for (std::uint64_t first = first_item() - lane(); first <= count; first += stride) {
        const std::uint64_t j = first + lane();
        std::uint64_t line = 0, end = 0;
        if (j <= count) {
            line = j == 0 ? 0 : std::uint64_t{width(indices[j - 1])} + 1;
            end = (j == count ? lines : std::uint64_t{width(indices[j])}) + 1;
        }
        for (const std::uint64_t near = min(end, line + alone); line < near; ++line)
            starts[line] = static_cast<std::uint32_t>(j);
        for (unsigned left = __ballot_sync(full_warp, line < end); left != 0; left &= left - 1) {
            const int owner = __ffs(static_cast<int>(left)) - 1;
            const std::uint64_t last = __shfl_sync(full_warp, static_cast<unsigned long long>(end), owner);
            for (std::uint64_t l = __shfl_sync(full_warp, static_cast<unsigned long long>(line), owner) + lane();
                 l < last; l += warp_threads)
                starts[l] = static_cast<std::uint32_t>(first + static_cast<unsigned>(owner));
        }
    }
}

// The first of indices [begin, end) that is not below `index`.
__device__ inline std::uint32_t find_index(const std::uint32_t *indices, std::uint32_t begin, std::uint32_t end,
                                           std::uint64_t index) {
    while (begin < end) {
        const std::uint32_t middle = begin + (end - begin) / 2;
        if (indices[middle] < index)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

// Four floats that are aligned to 16 bytes.
__device__ inline void load_four(float *target, const float *source) {
    load_bytes<16>(target, source, true);
}

// ---- by tiles ----

constexpr unsigned tile_columns = 128, tile_depth = 32, run = 16;  // `run`: scalars that a thread decodes in a row
static_assert(tile_columns * tile_depth == block_threads * run);

// A thread's rows or columns of a tile: four that follow each other, and four half a tile further.
__device__ inline unsigned place_in_tile(unsigned thread, unsigned i) { return i / 4 * 64 + thread * 4 + i % 4; }

// weights[i] = scalar first + i for i in [0, count), 0 for the rest of a run. `whole`: runs are within blocks, and all
// of them are whole or empty.
__device__ inline void decode_some(const CodedWeight &weight, const Decoder &decoder, std::uint64_t first,
                                   unsigned count, bool whole, float (&weights)[run]) {
    if (whole && count > 0) {
        alignas(16) unsigned char codes[run];
        const float scale = decoder.scale_of(first);
        if (weight.coding == SPEFT_CODING_INT8) {
            load_bytes<run>(codes, weight.codes + first);
            decoder.decode_run<SPEFT_CODING_INT8, run>(codes, scale, weights);
        } else {
            load_bytes<run / 2>(codes, weight.codes + first / 2);
            decoder.decode_run<SPEFT_CODING_LEVELS4, run>(codes, scale, weights);
        }
        return;
    }
    std::uint64_t block_end = 0;
    float scale = 0;
    for (unsigned i = 0; i < run; ++i) {
        weights[i] = 0;
        if (i >= count) continue;
        if (first + i >= block_end) {
            const std::uint32_t block = weight.block(static_cast<std::uint32_t>(first + i));
            block_end = (std::uint64_t{block} + 1) * weight.block.divisor();
            scale = decoder.scale(block);
        }
        weights[i] = decoder.decode(decoder.code(first + i), scale);
    }
}

// A tile of 16·micro_rows rows and 128 columns of the target. A thread has micro_rows × 8 sums.
template <bool transposed, unsigned micro_rows>
__global__ void __launch_bounds__(block_threads)
    multiply_tiles(const __grid_constant__ Product m, std::uint32_t column_tiles, std::uint32_t tiles, bool whole) {
    constexpr unsigned tile_rows = 16 * micro_rows, micro_columns = tile_columns / 16;
    constexpr unsigned a_stride = tile_rows + 4, b_stride = tile_columns + 4;
    __shared__ CodeTables tables;
    __shared__ __align__(16) float a_tile[tile_depth * a_stride];
    __shared__ __align__(16) float b_tile[tile_depth * b_stride];
    const Decoder decoder(m.weight, tables);

    const std::uint32_t part = blockIdx.x / tiles, tile = blockIdx.x % tiles;
    const std::uint64_t first_row = std::uint64_t{tile / column_tiles} * tile_rows;
    const std::uint64_t first_column = std::uint64_t{tile % column_tiles} * tile_columns;
    const std::uint64_t steps = (m.inner + tile_depth - 1) / tile_depth;
    const std::uint64_t first_step = steps * part / m.parts, last_step = steps * (part + 1) / m.parts;
    const unsigned x = threadIdx.x % 16, y = threadIdx.x / 16;

    // Of transposed weights each column of the tile is a row of the weight, whose indices a thread goes through.
    std::uint32_t next = 0, row_end = 0;
    const std::uint64_t own_row = first_column + threadIdx.x;
    if (transposed && m.starts && threadIdx.x < tile_columns && own_row < m.columns) {
        row_end = m.starts[own_row + 1];
        next = find_index(m.indices, m.starts[own_row], row_end, own_row * m.b_columns + first_step * tile_depth);
    }

    float sums[micro_rows][micro_columns] = {};
    for (std::uint64_t step = first_step; step < last_step; ++step) {
        const std::uint64_t q = step * tile_depth;
        const auto depth = static_cast<unsigned>(min(std::uint64_t{tile_depth}, m.inner - q));
        for (unsigned i = threadIdx.x; i < tile_rows * tile_depth; i += block_threads) {
            const unsigned row = i / tile_depth, of_depth = i % tile_depth;
            const bool is_there = first_row + row < m.rows && of_depth < depth;
            a_tile[of_depth * a_stride + row] = is_there ? m.activation(first_row + row, q + of_depth) : 0;
        }
        float weights[run];
        if (transposed) {
            const unsigned column = threadIdx.x % tile_columns, from = threadIdx.x / tile_columns * run;
            const std::uint64_t row = first_column + column;
            const unsigned count = row < m.columns && from < depth ? min(run, depth - from) : 0;
            decode_some(m.weight, decoder, row * m.b_columns + q + from, count, whole, weights);
            for (unsigned i = 0; i < run; ++i) b_tile[(from + i) * b_stride + column] = weights[i];
        } else {
            const unsigned row = threadIdx.x / (tile_columns / run), from = threadIdx.x % (tile_columns / run) * run;
            const std::uint64_t column = first_column + from;
            const unsigned count =
                row < depth && column < m.columns
                    ? static_cast<unsigned>(min(std::uint64_t{run}, m.columns - column)) : 0;
            decode_some(m.weight, decoder, (q + row) * m.b_columns + column, count, whole, weights);
            for (unsigned i = 0; i < run; ++i) b_tile[row * b_stride + from + i] = weights[i];
        }
        __syncthreads();
        if (m.starts) {
            if (transposed) {
                const std::uint64_t origin = own_row * m.b_columns + q;
                for (; next < row_end && m.indices[next] < origin + depth; ++next)
                    b_tile[(m.indices[next] - origin) * b_stride + threadIdx.x] += load(m.values, m.values_type, next);
            } else {
                constexpr unsigned threads_a_row = block_threads / tile_depth;
                const unsigned row = threadIdx.x / threads_a_row;
                if (row < depth) {
                    const std::uint64_t origin = (q + row) * m.b_columns + first_column;
                    const std::uint64_t end =
                        origin + min(std::uint64_t{tile_columns}, m.columns - first_column);
                    const std::uint32_t last = m.starts[q + row + 1];
                    for (std::uint32_t j = find_index(m.indices, m.starts[q + row], last, origin) +
                                           threadIdx.x % threads_a_row;
                         j < last && m.indices[j] < end; j += threads_a_row)
                        b_tile[row * b_stride + (m.indices[j] - origin)] += load(m.values, m.values_type, j);
                }
            }
            __syncthreads();
        }
#pragma unroll 4
        for (unsigned d = 0; d < tile_depth; ++d) {
            float of_a[micro_rows], of_b[micro_columns];
            if constexpr (micro_rows == 1)
                of_a[0] = a_tile[d * a_stride + y];
            else
                for (unsigned i = 0; i < micro_rows; i += 4)
                    load_four(of_a + i, a_tile + d * a_stride + place_in_tile(y, i));
            for (unsigned i = 0; i < micro_columns; i += 4)
                load_four(of_b + i, b_tile + d * b_stride + place_in_tile(x, i));
            for (unsigned i = 0; i < micro_rows; ++i)
                for (unsigned j = 0; j < micro_columns; ++j) sums[i][j] = fmaf(of_a[i], of_b[j], sums[i][j]);
        }
        __syncthreads();  // before the next tile
    }
#pragma unroll
    for (unsigned i = 0; i < micro_rows; ++i) {
        const std::uint64_t row = first_row + (micro_rows == 1 ? y : place_in_tile(y, i));
        if (row >= m.rows) continue;
#pragma unroll
        for (unsigned j = 0; j < micro_columns; ++j) {
            const std::uint64_t column = first_column + place_in_tile(x, j);
            if (column < m.columns) m.put(part, row, column, sums[i][j]);
        }
    }
}

// How the target is cut.
struct TilePlan {
    static constexpr std::uint64_t least_steps = 8;  // of a part of a sum
    unsigned micro_rows;
    std::uint64_t column_tiles, tiles, parts;

    TilePlan(const speft_backend_device &device, std::uint64_t rows, std::uint64_t inner, std::uint64_t columns) {
        micro_rows = rows <= 16 ? 1 : rows <= 64 ? 4 : 8;
        column_tiles = (columns + tile_columns - 1) / tile_columns;
        tiles = column_tiles * ((rows + 16 * micro_rows - 1) / (16 * micro_rows));
        const std::uint64_t steps = (inner + tile_depth - 1) / tile_depth;
        const std::uint64_t wanted = tiles == 0 ? 1 : 2 * static_cast<std::uint64_t>(device.multiprocessors) / tiles;
        parts = std::max<std::uint64_t>(1, std::min(wanted, steps / least_steps));
    }
};

// ---- by codes ----

// 4-bit codes are looked up two at a time. A table of all pairs of levels, as often as a half-warp has lanes: each lane
// reads from banks of its own.
constexpr unsigned copies = 16;
constexpr std::size_t pairs_bytes = 256 * copies * sizeof(float2);
constexpr unsigned chunk = 32;                     // columns whose codes are 16 bytes, all of one scale
constexpr unsigned stretch = warp_threads * chunk;  // columns of a warp
constexpr unsigned most_tokens = 8;                 // rows of a at a time

__device__ inline void fill_pairs(const CodedWeight &weight, float2 *pairs) {
    for (unsigned i = threadIdx.x; i < 256 * copies; i += block_threads) {
        const unsigned pair = i / copies;
        pairs[i] = make_float2(weight.levels[pair >> 4], weight.levels[pair & 15]);
    }
}

// The levels of byte `byte` of a word of codes. `pairs` is the lane's copy.
__device__ inline float2 look_up(const float2 *pairs, std::uint32_t word, unsigned byte) {
    const std::uint32_t place = byte == 0 ? word << 4 : word >> (8 * byte - 4);
    return pairs[place & 0xff0u];
}

// sums[i] over all lanes, for i = the lane's number modulo `count`. Each exchange leaves a lane half of the sums.
template <unsigned left, unsigned count>
__device__ inline float sum_each(float (&sums)[count]) {
    if constexpr (left > 1) {
        constexpr unsigned half = left / 2;
        const bool upper = (lane() & half) != 0;
#pragma unroll
        for (unsigned i = 0; i < half; ++i) {
            const float sent = upper ? sums[i] : sums[i + half], kept = upper ? sums[i + half] : sums[i];
            sums[i] = kept + __shfl_xor_sync(full_warp, sent, half);
        }
        return sum_each<half>(sums);
    } else {
        float sum = sums[0];
        for (unsigned distance = count; distance < warp_threads; distance *= 2)
            sum += __shfl_xor_sync(full_warp, sum, distance);
        return sum;
    }
}

// How the work is cut where rows of the weight are multiplied with rows of a.
struct RowPlan {
    static constexpr unsigned most_floats = 16384;  // of activations in shared memory
    std::uint32_t width;         // columns of a part, a multiple of `stretch`
    std::uint32_t parts;
    std::uint32_t column_warps;  // that share a row

    RowPlan(unsigned tokens, std::uint64_t b_columns) {
        const std::uint64_t stretches = (b_columns + stretch - 1) / stretch;
        const std::uint64_t most = most_floats / (tokens * stretch);
        parts = static_cast<std::uint32_t>((stretches + most - 1) / most);
        const std::uint64_t of_part = (stretches + parts - 1) / parts;
        width = static_cast<std::uint32_t>(of_part * stretch);
        column_warps = 1;
        while (column_warps < warps_per_block && column_warps < of_part) column_warps *= 2;
    }
};

// Sums of `tokens` rows of a (or fewer) with `lines` rows of the weight, of columns [part·width, (part + 1)·width): a
// warp's lanes have 32 columns each of every row, and several warps share a row's stretches. `aligned`: codes are, for
// whole loads; a choice inside of the loop would cost registers.
template <unsigned tokens, unsigned lines, bool aligned>
__global__ void __launch_bounds__(block_threads, 2)
    multiply_rows(const __grid_constant__ Product m, const __grid_constant__ RowPlan plan) {
    constexpr unsigned sums_a_warp = tokens * lines;
    static_assert(sums_a_warp <= warp_threads);
    // Rounding each weight costs a multiplication; without it a chunk's sum is multiplied, which takes registers.
    constexpr bool scales_last = tokens <= 2;
    float2 *const pairs = dynamic_shared<float2>();
    float *const activations = reinterpret_cast<float *>(pairs + 256 * copies);
    __shared__ CodeTables tables;
    __shared__ float found[warps_per_block][sums_a_warp];
    fill_pairs(m.weight, pairs);

    // Lane by lane: the four columns that a lane takes next are 16 bytes beside those of its neighbour.
    const std::uint32_t part = blockIdx.y;
    const std::uint64_t first_column = std::uint64_t{part} * plan.width;
    for (unsigned t = 0; t < tokens; ++t)
        for (std::uint32_t i = threadIdx.x; i < plan.width; i += block_threads) {
            const std::uint32_t of_stretch = i % stretch, owner = of_stretch / chunk, of_chunk = of_stretch % chunk;
            const bool is_there = t < m.rows && first_column + i < m.inner;
            activations[((i / stretch * tokens + t) * (chunk / 4) + of_chunk / 4) * (warp_threads * 4) + owner * 4 +
                        of_chunk % 4] = is_there ? m.activation(t, first_column + i) : 0;
        }
    const Decoder decoder(m.weight, tables);

    const float2 *const own_pairs = pairs + lane() % copies;
    const unsigned column_warp = warp() % plan.column_warps, row_warp = warp() / plan.column_warps;
    const unsigned rows_at_once = warps_per_block / plan.column_warps * lines;
    for (std::uint64_t first = std::uint64_t{blockIdx.x} * rows_at_once; first < m.b_rows;
         first += std::uint64_t{gridDim.x} * rows_at_once) {
        const std::uint64_t first_line = first + row_warp * lines;
        float sums[sums_a_warp] = {};
        for (std::uint32_t at = column_warp * stretch; at < plan.width; at += plan.column_warps * stretch) {
            const std::uint64_t column = first_column + at + lane() * chunk;
            std::uint32_t words[lines][4];
            float scales[lines];
#pragma unroll
            for (unsigned l = 0; l < lines; ++l) {
                scales[l] = 0;
                for (std::uint32_t &word : words[l]) word = 0;
                if (first_line + l >= m.b_rows || column >= m.inner) continue;
                const auto j = static_cast<std::uint32_t>((first_line + l) * m.b_columns + column);
                load_bytes<16>(words[l], m.weight.codes + j / 2, aligned);
                scales[l] = decoder.scale_of(j);
            }
            const float *const own = activations + (at / stretch * tokens * (chunk / 4) * warp_threads + lane()) * 4;
            float parts[scales_last ? sums_a_warp : 1] = {};
#pragma unroll
            for (unsigned four = 0; four < chunk / 4; ++four) {
                float factors[tokens][4];
#pragma unroll
                for (unsigned t = 0; t < tokens; ++t)
                    load_four(factors[t], own + (t * (chunk / 4) + four) * (warp_threads * 4));
#pragma unroll
                for (unsigned l = 0; l < lines; ++l)
#pragma unroll
                    for (unsigned pair = 0; pair < 2; ++pair) {
                        float2 weights = look_up(own_pairs, words[l][four / 2], four % 2 * 2 + pair);
                        if (!scales_last) weights = make_float2(weights.x * scales[l], weights.y * scales[l]);
#pragma unroll
                        for (unsigned t = 0; t < tokens; ++t) {
                            float &sum = scales_last ? parts[l * tokens + t] : sums[l * tokens + t];
                            sum = fmaf(weights.x, factors[t][2 * pair], sum);
                            sum = fmaf(weights.y, factors[t][2 * pair + 1], sum);
                        }
                    }
            }
            if constexpr (scales_last)
#pragma unroll
                for (unsigned i = 0; i < sums_a_warp; ++i) sums[i] = fmaf(scales[i / tokens], parts[i], sums[i]);
        }
        const float of_warp = sum_each<sums_a_warp>(sums);
        if (lane() < sums_a_warp) found[warp()][lane()] = of_warp;
        __syncthreads();
        // The values that are added to a row have a sum of their own, which one part takes.
        for (unsigned i = warp(); i < rows_at_once; i += warps_per_block) {
            const std::uint64_t row = first + i;
            if (row >= m.b_rows) break;
            float of_values[tokens] = {};
            if (m.starts && part == 0) {
                const std::uint32_t end = m.starts[row + 1];
                for (std::uint32_t j = m.starts[row] + lane(); j < end; j += warp_threads) {
                    const std::uint64_t q = m.indices[j] - row * m.b_columns;
                    const float value = load(m.values, m.values_type, j);
#pragma unroll
                    for (unsigned t = 0; t < tokens; ++t)
                        if (t < m.rows) of_values[t] = fmaf(value, m.activation(t, q), of_values[t]);
                }
            }
            float sum = sum_each<tokens>(of_values);
            if (lane() >= tokens || lane() >= m.rows) continue;
            for (unsigned w = 0; w < plan.column_warps; ++w)
                sum += found[i / lines * plan.column_warps + w][i % lines * tokens + lane()];
            m.put(part, lane(), row, sum);
        }
        __syncthreads();  // before the next rows' sums are written
    }
}

// How the work is cut where rows of the weight are added up.
struct ColumnPlan {
    static constexpr std::uint64_t most_lines = 512, least_lines = 32;  // rows of the weight that a block has
    std::uint32_t groups, lines, parts;

    ColumnPlan(const speft_backend_device &device, unsigned columns_a_warp, std::uint64_t b_rows,
               std::uint64_t b_columns) {
        const std::uint64_t of_columns = (b_columns + columns_a_warp - 1) / columns_a_warp;
        const std::uint64_t wanted = std::max<std::uint64_t>(
            1, 2 * static_cast<std::uint64_t>(device.multiprocessors) / std::max<std::uint64_t>(1, of_columns));
        const std::uint64_t share = (b_rows + wanted - 1) / wanted;
        groups = static_cast<std::uint32_t>(of_columns);
        lines = static_cast<std::uint32_t>(std::clamp(share, least_lines, most_lines));
        parts = static_cast<std::uint32_t>(std::max<std::uint64_t>(1, (b_rows + lines - 1) / lines));
    }
};

// 8·words columns a lane.
template <unsigned tokens, unsigned words>
struct ColumnShape {
    static constexpr unsigned own = 8 * words, columns = warp_threads * own, at_once = 16 / words;
    // A warp's sums: columns of one lane are a row apart, so that neither lanes nor columns in turn share banks.
    static constexpr unsigned row = warp_threads + 1, sums = tokens * own * row;
    static constexpr std::size_t shared_bytes =
        std::max(pairs_bytes + (ColumnPlan::most_lines + warps_per_block * at_once) * tokens * sizeof(float),
                 warps_per_block * sums * sizeof(float));
};

// Part `part` of the sums of some columns: of the weight's rows [part·lines, (part + 1)·lines).
template <unsigned tokens, unsigned words, bool aligned>
__global__ void __launch_bounds__(block_threads, 2)
    multiply_columns(const __grid_constant__ Product m, const __grid_constant__ ColumnPlan plan) {
    using Shape = ColumnShape<tokens, words>;
    constexpr unsigned own = Shape::own, at_once = Shape::at_once;
    float2 *const pairs = dynamic_shared<float2>();
    float *const activations = reinterpret_cast<float *>(pairs + 256 * copies);  // [lines][tokens]
    __shared__ CodeTables tables;
    fill_pairs(m.weight, pairs);

    const std::uint32_t part = blockIdx.x / plan.groups;
    const std::uint64_t first_column = std::uint64_t{blockIdx.x % plan.groups} * Shape::columns;
    const std::uint64_t first = std::uint64_t{part} * plan.lines, last = min(first + plan.lines, m.inner);
    const auto lines = static_cast<std::uint32_t>(last - first);
    for (unsigned i = threadIdx.x; i < (plan.lines + warps_per_block * at_once) * tokens; i += block_threads) {
        const unsigned line = i / tokens, t = i % tokens;
        activations[i] = line < lines && t < m.rows ? m.activation(t, first + line) : 0;
    }
    const Decoder decoder(m.weight, tables);

    const float2 *const own_pairs = pairs + lane() % copies;
    const std::uint64_t column = first_column + lane() * own;
    float sums[tokens][own] = {};
    for (std::uint32_t line = warp() * at_once; line < lines; line += warps_per_block * at_once) {
        std::uint32_t codes[at_once][words];
        float scales[at_once];
#pragma unroll
        for (unsigned l = 0; l < at_once; ++l) {
            scales[l] = 0;
            for (std::uint32_t &word : codes[l]) word = 0;
            if (line + l >= lines || column >= m.columns) continue;
            const auto j = static_cast<std::uint32_t>((first + line + l) * m.b_columns + column);
            load_bytes<4 * words>(codes[l], m.weight.codes + j / 2, aligned);
            scales[l] = decoder.scale_of(j);
        }
#pragma unroll
        for (unsigned l = 0; l < at_once; ++l) {
            float factors[tokens];
#pragma unroll
            for (unsigned t = 0; t < tokens; ++t) factors[t] = scales[l] * activations[(line + l) * tokens + t];
#pragma unroll
            for (unsigned pair = 0; pair < own / 2; ++pair) {
                const float2 weights = look_up(own_pairs, codes[l][pair / 4], pair % 4);
#pragma unroll
                for (unsigned t = 0; t < tokens; ++t) {
                    sums[t][2 * pair] = fmaf(weights.x, factors[t], sums[t][2 * pair]);
                    sums[t][2 * pair + 1] = fmaf(weights.y, factors[t], sums[t][2 * pair + 1]);
                }
            }
        }
    }
    __syncthreads();  // tables and activations have been read: the warps' sums come in their place

    float *const all = dynamic_shared<float>(), *const of_warp = all + warp() * Shape::sums;
#pragma unroll
    for (unsigned t = 0; t < tokens; ++t)
#pragma unroll
        for (unsigned i = 0; i < own; ++i) of_warp[(t * own + i) * Shape::row + lane()] = sums[t][i];
    __syncwarp();
    // The values of each row of the weight, in columns that differ; row after row. Lanes look for 32 rows' at once.
    if (m.starts)
        for (std::uint32_t line = warp(); line < lines; line += warps_per_block * warp_threads) {
            const std::uint32_t own_line = line + lane() * warps_per_block;
            std::uint32_t begin = 0, end = 0;
            if (own_line < lines) {
                const std::uint64_t row = first + own_line, origin = row * m.b_columns + first_column;
                const std::uint64_t width = min(std::uint64_t{Shape::columns}, m.columns - first_column);
                begin = find_index(m.indices, m.starts[row], m.starts[row + 1], origin);
                end = find_index(m.indices, begin, m.starts[row + 1], origin + width);
            }
            for (unsigned l = 0; l < warp_threads; ++l) {
                const std::uint32_t from = __shfl_sync(full_warp, begin, l), to = __shfl_sync(full_warp, end, l);
                const std::uint64_t row = first + line + l * warps_per_block;
                for (std::uint32_t j = from + lane(); j < to; j += warp_threads) {
                    const auto c = static_cast<unsigned>(m.indices[j] - (row * m.b_columns + first_column));
                    const float value = load(m.values, m.values_type, j);
#pragma unroll
                    for (unsigned t = 0; t < tokens; ++t) {
                        float &sum = of_warp[(t * own + c % own) * Shape::row + c / own];
                        if (t < m.rows) sum = fmaf(value, m.activation(t, row), sum);
                    }
                }
                __syncwarp();
            }
        }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < tokens * Shape::columns; i += block_threads) {
        const unsigned t = i / Shape::columns, c = i % Shape::columns;
        if (t >= m.rows || first_column + c >= m.columns) continue;
        const unsigned place = (t * own + c % own) * Shape::row + c / own;
        float sum = all[place];
        for (unsigned w = 1; w < warps_per_block; ++w) sum += all[w * Shape::sums + place];
        m.put(part, t, first_column + c, sum);
    }
}

// ---- both ----

Product describe(const speft_multiply_quantized &q) {
    const bool transposed = q.transposed != 0;
    return {q.a,
            q.target,
            CodedWeight(q.quantized),
            q.indices,
            q.values,
            nullptr,
            q.rows,
            transposed ? q.b_columns : q.b_rows,
            transposed ? q.b_rows : q.b_columns,
            static_cast<std::uint32_t>(q.b_rows),
            static_cast<std::uint32_t>(q.b_columns),
            q.a_type,
            q.target_type,
            q.values_type,
            q.accumulate != 0,
            q.scale,
            1,
            nullptr};
}

std::uint64_t starts_bytes(const speft_multiply_quantized &q) {
    constexpr std::uint64_t aligned = 16;
    return q.count == 0 ? 0 : ((q.b_rows + 1) * sizeof(std::uint32_t) + aligned - 1) / aligned * aligned;
}

std::uint64_t parts_bytes(std::uint64_t parts, std::uint64_t rows, std::uint64_t columns) {
    return parts > 1 ? parts * rows * columns * sizeof(float) : 0;
}

void place_in_scratch(const speft_backend_device &device, const speft_multiply_quantized &q, void *scratch,
                      Product &product) {
    product.sums = reinterpret_cast<float *>(static_cast<unsigned char *>(scratch) + starts_bytes(q));
    if (q.count == 0) return;
    auto *const starts = static_cast<std::uint32_t *>(scratch);
    find_starts(device, "multiply_quantized", q.indices, q.count, Divider(product.b_columns), product.b_rows, starts);
    product.starts = starts;
}

void finish(const speft_backend_device &device, const Product &product) {
    if (product.parts > 1)
        launch(device, "multiply_quantized",
               {.blocks = count_blocks(device, product.rows * product.columns, block_threads)}, add_parts, product);
}

TilePlan plan_tiles(const speft_backend_device &device, const speft_multiply_quantized &q) {
    return TilePlan(device, q.rows, q.transposed ? q.b_columns : q.b_rows, q.transposed ? q.b_rows : q.b_columns);
}

// visit.template operator()<tokens>() for the least number of tokens that kernels are made for.
template <class Visit>
void visit_tokens(std::uint64_t tokens, Visit &&visit) {
    if (tokens <= 1) return visit.template operator()<1>();
    if (tokens <= 2) return visit.template operator()<2>();
    if (tokens <= 4) return visit.template operator()<4>();
    visit.template operator()<most_tokens>();
}

template <unsigned tokens>
inline constexpr unsigned lines_of = tokens <= 4 ? 8 : 4;  // rows of the weight at a time
template <unsigned tokens>
inline constexpr unsigned words_of = tokens <= 2 ? 4 : 8 / tokens;  // at most 64 sums a lane

template <unsigned tokens>
void multiply_tokens(const speft_backend_device &device, bool transposed, Product product) {
    const bool aligned = is_aligned<16>(product.weight.codes);
    if (transposed) {
        const RowPlan plan(tokens, product.b_columns);
        const std::uint64_t at_once = std::uint64_t{warps_per_block} / plan.column_warps * lines_of<tokens>;
        product.parts = plan.parts;
        launch(device, "multiply_quantized",
               {.blocks = dim3(count_blocks(device, product.b_rows, at_once, 2), plan.parts),
                .shared_bytes = pairs_bytes + std::size_t{tokens} * plan.width * sizeof(float)},
               aligned ? multiply_rows<tokens, lines_of<tokens>, true> : multiply_rows<tokens, lines_of<tokens>, false>,
               product, plan);
    } else {
        using Shape = ColumnShape<tokens, words_of<tokens>>;
        const ColumnPlan plan(device, Shape::columns, product.b_rows, product.b_columns);
        product.parts = plan.parts;
        launch(device, "multiply_quantized",
               {.blocks = plan.groups * plan.parts, .shared_bytes = Shape::shared_bytes},
               aligned ? multiply_columns<tokens, words_of<tokens>, true>
                       : multiply_columns<tokens, words_of<tokens>, false>,
               product, plan);
    }
    finish(device, product);
}

}  // namespace

void find_starts(const speft_backend_device &device, const char *operation, const std::uint32_t *indices,
                 std::uint64_t count, Divider width, std::uint32_t lines, std::uint32_t *starts) {
    launch(device, operation, {.blocks = count_blocks(device, count + 1, block_threads)}, mark_starts, indices,
           static_cast<std::uint32_t>(count), width, lines, starts);
}

const char *refuse_codes(const speft_multiply_quantized &q) {
    constexpr std::uint64_t most_rows = 2 * most_tokens, most_columns = 1 << 24;
    if (q.rows > most_rows) return "so many rows are faster by tiles";
    if (q.quantized.coding != SPEFT_CODING_LEVELS4) return "the codes are not of 4 bits";
    if (q.quantized.block % chunk != 0) return "the blocks are not multiples of 32";
    if (q.b_columns % chunk != 0) return "the weight's rows are not multiples of 32";
    if (q.rows == 0 || q.b_rows == 0 || q.b_columns == 0) return "there is no code or no row";
    return q.b_columns > most_columns ? "the weight's rows are too long" : nullptr;
}

std::uint64_t multiply_codes_scratch(const speft_backend_device &device, const speft_multiply_quantized &q) {
    std::uint64_t bytes = 0;
    const std::uint64_t tokens = std::min<std::uint64_t>(q.rows, most_tokens);
    visit_tokens(tokens, [&]<unsigned width>() {
        if (q.transposed)
            bytes = parts_bytes(RowPlan(width, q.b_columns).parts, tokens, q.b_rows);
        else
            bytes = parts_bytes(
                ColumnPlan(device, ColumnShape<width, words_of<width>>::columns, q.b_rows, q.b_columns).parts, tokens,
                q.b_columns);
    });
    return starts_bytes(q) + bytes;
}

void multiply_codes(speft_backend_device &device, const speft_multiply_quantized &q, void *scratch) {
    Product product = describe(q);
    place_in_scratch(device, q, scratch, product);
    for (std::uint64_t row = 0; row < q.rows; row += most_tokens) {
        product.rows = std::min<std::uint64_t>(q.rows - row, most_tokens);
        product.a = static_cast<const unsigned char *>(q.a) + row * product.inner * scalar_bytes(q.a_type);
        product.target = static_cast<unsigned char *>(q.target) + row * product.columns * scalar_bytes(q.target_type);
        visit_tokens(product.rows, [&]<unsigned tokens>() {
            multiply_tokens<tokens>(device, q.transposed != 0, product);
        });
    }
}

std::uint64_t multiply_quantized_scratch(const speft_backend_device &device, const speft_multiply_quantized &q) {
    return starts_bytes(q) + parts_bytes(plan_tiles(device, q).parts, q.rows, q.transposed ? q.b_rows : q.b_columns);
}

void multiply_quantized(speft_backend_device &device, const speft_multiply_quantized &q, void *scratch) {
    const TilePlan plan = plan_tiles(device, q);
    Product product = describe(q);
    if (product.rows == 0 || product.columns == 0) return;
    place_in_scratch(device, q, scratch, product);
    product.parts = static_cast<std::uint32_t>(plan.parts);
    const bool whole = q.b_columns % run == 0 && q.quantized.block % run == 0;
    const auto multiply = [&]<bool transposed>() {
        const auto kernel = plan.micro_rows == 1   ? multiply_tiles<transposed, 1>
                            : plan.micro_rows == 4 ? multiply_tiles<transposed, 4>
                                                   : multiply_tiles<transposed, 8>;
        launch(device, "multiply_quantized", {.blocks = static_cast<unsigned>(plan.tiles * plan.parts)}, kernel,
               product, static_cast<std::uint32_t>(plan.column_tiles), static_cast<std::uint32_t>(plan.tiles), whole);
    };
    q.transposed ? multiply.template operator()<true>() : multiply.template operator()<false>();
    finish(device, product);
}

}  // namespace speft::cuda
