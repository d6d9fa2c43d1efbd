// Operations on whole arrays: small copies to the device, scaling, sums of squares; values added to sums, squares of
// columns; and lists of indices: where one has the members of another, what is in both, what lies at them.
#include <algorithm>
#include <cstring>
#include <vector>

#include "backends/cuda/kernels/block.h"
#include "backends/cuda/kernels/grouped.h"
#include "backends/cuda/kernels/merge_path.h"
#include "backends/cuda/kernels/scalars.h"
#include "backends/cuda/kernels/upload.h"
#include "backends/cuda/operations.h"
#include "core/base/value_map.h"

namespace speft::cuda {
namespace {

// ---- copies, scale, sum_squares ----

struct Chunk {
    static constexpr std::uint64_t capacity = 4096;
    unsigned char bytes[capacity];
};

__global__ void store_chunk(const __grid_constant__ Chunk chunk, unsigned char *target, std::uint32_t bytes) {
    for (std::uint32_t i = threadIdx.x; i < bytes; i += blockDim.x) target[i] = chunk.bytes[i];
}

struct Values {
    float *values;
    std::uint64_t count;
};

constexpr std::uint64_t values_per_block = 4096;

__global__ void scale_values(const __grid_constant__ Batch<Values> batch, float factor) {
    const BlockTask task = find_task(batch, blockIdx.x);
    const Values &array = batch.items[task.item];
    const std::uint64_t begin = task.block * values_per_block, end = min(begin + values_per_block, array.count);
    for (std::uint64_t i = begin + threadIdx.x; i < end; i += blockDim.x) array.values[i] *= factor;
}

// partial[block] = the sum of the block's squares.
__global__ void sum_block_squares(const __grid_constant__ Batch<Values> batch, double *partial) {
    const BlockTask task = find_task(batch, blockIdx.x);
    const Values &array = batch.items[task.item];
    const std::uint64_t begin = task.block * values_per_block, end = min(begin + values_per_block, array.count);
    double sum = 0;
    for (std::uint64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
        const double value = array.values[i];
        sum += value * value;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[batch.blocks_before + blockIdx.x] = sum;
}

// One block adds up what the others found.
__global__ void sum_partials(const double *partial, std::uint64_t count, double *sum) {
    double own = 0;
    for (std::uint64_t i = threadIdx.x; i < count; i += blockDim.x) own += partial[i];
    own = block_sum(own);
    if (threadIdx.x == 0) *sum = own;
}

template <class Launch>
void for_each_values(float *const *values, const std::uint64_t *counts, std::uint64_t arrays, Launch &&launch) {
    std::vector<Values> group(arrays);
    for (std::uint64_t i = 0; i < arrays; ++i) group[i] = {values[i], counts[i]};
    for_each_batch(group.data(), arrays, values_per_block, [](const Values &array) { return array.count; }, launch);
}

std::uint64_t count_partials(const std::uint64_t *counts, std::uint64_t arrays) {
    return count_group_blocks(counts, arrays, values_per_block, [](std::uint64_t count) { return count; });
}

constexpr std::uint64_t divide_up(std::uint64_t count, std::uint64_t by) { return (count + by - 1) / by; }

// Some elements side by side, for one load or store.
template <class Element, unsigned count>
struct alignas(sizeof(Element) * count) Pack {
    Element at[count];
};

bool is_aligned(const void *pointer, std::uint64_t to) { return reinterpret_cast<std::uintptr_t>(pointer) % to == 0; }

// ---- add_values ----

constexpr unsigned sums_per_pack = 4;
constexpr unsigned packs_per_thread = 4;

template <class Scalar>
__device__ float find_addend(const speft_add_values &a, Scalar value) {
    return a.weight * map_value(a.map, a.scale * to_float(value));
}

// The sums from `head` on in packs; those before and those after the last pack one by one.
template <class Scalar>
__global__ void add_packs(const __grid_constant__ speft_add_values a, std::uint64_t head) {
    using Sums = Pack<float, sums_per_pack>;
    using Values = Pack<Scalar, sums_per_pack>;
    const auto *const source = static_cast<const Scalar *>(a.source);
    auto *const sum_packs = reinterpret_cast<Sums *>(a.sums + head);
    const auto *const source_packs = reinterpret_cast<const Values *>(source + head);
    const std::uint64_t packs = (a.count - head) / sums_per_pack;
    const std::uint64_t first = std::uint64_t{blockIdx.x} * block_threads * packs_per_thread + threadIdx.x;
    Sums sums[packs_per_thread];
    Values values[packs_per_thread];
    if (packs > 0) {
        for (unsigned i = 0; i < packs_per_thread; ++i) {
            const std::uint64_t pack = min(first + i * block_threads, packs - 1);
            values[i] = source_packs[pack];
            sums[i] = sum_packs[pack];
        }
#pragma unroll
        for (unsigned i = 0; i < packs_per_thread; ++i) {
#pragma unroll
            for (unsigned s = 0; s < sums_per_pack; ++s) sums[i].at[s] += find_addend(a, values[i].at[s]);
            const std::uint64_t pack = first + i * block_threads;
            if (pack < packs) sum_packs[pack] = sums[i];
        }
    }
    if (blockIdx.x != 0 || threadIdx.x >= a.count - packs * sums_per_pack) return;
    const std::uint64_t j = threadIdx.x < head ? threadIdx.x : packs * sums_per_pack + threadIdx.x;
    a.sums[j] += find_addend(a, source[j]);
}

constexpr unsigned sums_per_thread = 8;

// One by one: those at a mask, or where sums and source are aligned apart.
template <class Scalar>
__global__ void add_singles(const __grid_constant__ speft_add_values a) {
    const auto *const source = static_cast<const Scalar *>(a.source);
    // A parameter has fewer than 2^32 scalars, and blocks begin at multiples of a power of two: nothing passes 2^32.
    const std::uint32_t first = blockIdx.x * (block_threads * sums_per_thread) + threadIdx.x;
    const auto last = static_cast<std::uint32_t>(a.count - 1);
    std::uint32_t places[sums_per_thread];
    Scalar values[sums_per_thread];
    float sums[sums_per_thread];
    for (unsigned i = 0; i < sums_per_thread; ++i) {
        places[i] = min(first + i * block_threads, last);
        sums[i] = a.sums[places[i]];
    }
    if (a.indices)
        for (unsigned i = 0; i < sums_per_thread; ++i) places[i] = a.indices[places[i]];
    for (unsigned i = 0; i < sums_per_thread; ++i) values[i] = source[places[i]];
#pragma unroll
    for (unsigned i = 0; i < sums_per_thread; ++i) {
        const std::uint32_t j = first + i * block_threads;
        if (j <= last) a.sums[j] = sums[i] + find_addend(a, values[i]);
    }
}

// ---- add_column_squares ----

// A block takes a strip of columns and some of the tokens; each of its warps takes every 8th token.
constexpr unsigned block_warps = block_threads / warp_threads;
constexpr unsigned columns_per_lane = 8;
constexpr unsigned strip_columns = warp_threads * columns_per_lane;
constexpr unsigned tokens_at_once = 4;  // of a warp: so many loads are under way
constexpr std::uint64_t least_tokens = 16 * block_warps;
// Of one float32 sum a warp: its error grows with this and with the number of such sums, not with their product.
constexpr std::uint64_t most_tokens = 256 * block_warps;
constexpr std::uint64_t most_parts = 65535;  // of a grid's second axis

struct Split {
    std::uint64_t tokens;  // of a block
    unsigned parts;
};

Split split_tokens(const speft_backend_device &device, const speft_add_column_squares &arguments) {
    const std::uint64_t strips = divide_up(arguments.columns, strip_columns);
    const std::uint64_t blocks = std::uint64_t{4} * device.multiprocessors;
    const std::uint64_t wanted = divide_up(blocks, std::max<std::uint64_t>(strips, 1));
    const std::uint64_t tokens = std::max(std::clamp(divide_up(arguments.tokens, wanted), least_tokens, most_tokens),
                                          divide_up(arguments.tokens, most_parts));
    return {tokens, static_cast<unsigned>(std::max<std::uint64_t>(divide_up(arguments.tokens, tokens), 1))};
}

// A lane's columns: side by side where a row can be read in packs, else a warp's width apart.
template <bool packed>
__device__ std::uint64_t column_of(unsigned i) {
    const std::uint64_t strip = std::uint64_t{blockIdx.x} * strip_columns;
    return packed ? strip + lane() * columns_per_lane + i : strip + i * warp_threads + lane();
}

template <class Scalar, bool packed>
__device__ void load_columns(const Scalar *row, std::uint64_t columns, Scalar (&values)[columns_per_lane]) {
    constexpr unsigned pack = packed ? 16 / sizeof(Scalar) : 1;
    for (unsigned i = 0; i < columns_per_lane; i += pack) {
        const std::uint64_t column = column_of<packed>(i);
        const auto loaded = *reinterpret_cast<const Pack<Scalar, pack> *>(row + min(column, columns - pack));
        for (unsigned e = 0; e < pack; ++e) values[i + e] = loaded.at[e];
    }
}

// partial[part, column] = Σ x² over the part's tokens.
template <class Scalar, bool packed>
__global__ void sum_column_squares(const __grid_constant__ speft_add_column_squares a, std::uint64_t part_tokens,
                                   float *partial) {
    const auto *const x = static_cast<const Scalar *>(a.x);
    const std::uint64_t begin = blockIdx.y * part_tokens, end = min(begin + part_tokens, a.tokens);
    float sums[columns_per_lane] = {};
    for (std::uint64_t token = begin + warp(); token < end; token += tokens_at_once * block_warps) {
        Scalar values[tokens_at_once][columns_per_lane];
        for (unsigned t = 0; t < tokens_at_once; ++t)
            load_columns<Scalar, packed>(x + min(token + t * block_warps, end - 1) * a.columns, a.columns, values[t]);
        for (unsigned t = 0; t < tokens_at_once; ++t) {
            const bool counts = token + t * block_warps < end;
            for (unsigned i = 0; i < columns_per_lane; ++i) {
                const float value = counts ? to_float(values[t][i]) : 0.0f;
                sums[i] = fmaf(value, value, sums[i]);
            }
        }
    }
    __shared__ float of_warps[block_warps][strip_columns];
    for (unsigned i = 0; i < columns_per_lane; ++i)  // a lane's columns apart, for the sake of the banks
        of_warps[warp()][i * warp_threads + lane()] = sums[i];
    __syncthreads();
    static_assert(strip_columns == block_threads);
    float sum = 0;
    for (unsigned w = 0; w < block_warps; ++w) sum += of_warps[w][threadIdx.x];
    // Here a warp stands for the number of a column in its lane.
    const std::uint64_t column = column_of<packed>(warp());
    if (column < a.columns) partial[blockIdx.y * a.columns + column] = sum;
}

// sums += weight · Σ partial: a block takes a warp's width of columns, and each of its warps every 8th part.
__global__ void add_column_sums(const __grid_constant__ speft_add_column_squares a, const float *partial,
                                unsigned parts) {
    const std::uint64_t column = std::uint64_t{blockIdx.x} * warp_threads + lane();
    float sum = 0;
    if (column < a.columns)
#pragma unroll 4
        for (unsigned part = warp(); part < parts; part += block_warps) sum += partial[part * a.columns + column];
    __shared__ float of_warps[block_warps][warp_threads];
    of_warps[warp()][lane()] = sum;
    __syncthreads();
    if (warp() != 0 || column >= a.columns) return;
    for (unsigned w = 1; w < block_warps; ++w) sum += of_warps[w][lane()];
    a.sums[column] += a.weight * sum;
}

// ---- take ----

constexpr unsigned words_per_thread = 8;
constexpr std::uint32_t none = UINT32_MAX;

// Elements as rows of words, the widest ones that all rows are aligned to.
template <class Word>
__global__ void take_words(const __grid_constant__ speft_take t, std::uint64_t row_words) {
    const auto *const source = static_cast<const Word *>(t.source);
    auto *const target = static_cast<Word *>(t.target);
    const std::uint64_t words = t.count * row_words;
    const std::uint64_t first = std::uint64_t{blockIdx.x} * block_threads * words_per_thread + threadIdx.x;
    // Divided once: from one of the thread's words to the next the row and the place in it move by these.
    std::uint64_t row = first, place = 0, step_rows = block_threads, step_places = 0;
    if (row_words > 1) {
        row = first / row_words;
        place = first % row_words;
        step_rows = block_threads / row_words;
        step_places = block_threads % row_words;
    }
    std::uint64_t places[words_per_thread];
    std::uint32_t positions[words_per_thread];
    for (unsigned i = 0; i < words_per_thread; ++i) {
        positions[i] = t.positions[min(row, t.count - 1)];
        places[i] = place;
        row += step_rows;
        place += step_places;
        if (place >= row_words) {
            place -= row_words;
            ++row;
        }
    }
    Word taken[words_per_thread];
    for (unsigned i = 0; i < words_per_thread; ++i)
        if (positions[i] != none) taken[i] = source[positions[i] * row_words + places[i]];
    for (unsigned i = 0; i < words_per_thread; ++i) {
        const std::uint64_t word = first + i * block_threads;
        if (word < words && positions[i] != none) target[word] = taken[i];
    }
}

template <class Word>
void launch_take(const speft_backend_device &device, const speft_take &arguments) {
    const std::uint64_t row_words = arguments.element_bytes / sizeof(Word);
    const std::uint64_t blocks = divide_up(arguments.count * row_words, block_threads * words_per_thread);
    launch(device, "take", {.blocks = static_cast<unsigned>(blocks)}, take_words<Word>, arguments, row_words);
}

// ---- find_indices ----

// How many of [low, high) fulfil `precedes`, which the first ones do and the others do not, plus `low`. A whole warp
// looks, at 32 places at a time: few loads that wait for each other.
template <class Precedes>
__device__ std::uint64_t find_with_warp(std::uint64_t low, std::uint64_t high, Precedes &&precedes) {
    while (low < high) {
        const std::uint64_t step = (high - low + warp_threads - 1) / warp_threads;
        const std::uint64_t probe = low + (lane() + 1) * step - 1;
        const bool holds = probe < high && precedes(probe);
        low += __popc(__ballot_sync(full_warp, holds)) * step;
        high = min(high, low + step - 1);
    }
    return low;
}

constexpr unsigned wanted_per_thread = 8;
constexpr unsigned wanted_per_block = block_threads * wanted_per_thread;
constexpr unsigned most_staged = 4096;

// positions[i] = base + the place of wanted[i] in the list, or `none`. The searches of a thread go side by side, and
// each loads something at every step: a condition would put one behind the other.
__device__ void search(const std::uint32_t *list, std::uint32_t count, std::uint32_t base,
                       const std::uint32_t (&wanted)[wanted_per_thread],
                       std::uint32_t (&positions)[wanted_per_thread]) {
    std::uint32_t below[wanted_per_thread] = {};
    const std::uint32_t last = count - 1;
    for (std::uint32_t step = 1u << (31 - __clz(static_cast<int>(count))); step > 0; step /= 2)
        for (unsigned i = 0; i < wanted_per_thread; ++i) {
            const bool smaller = list[min(below[i] + step - 1, last)] < wanted[i];
            if (smaller && step <= count - below[i]) below[i] += step;
        }
    for (unsigned i = 0; i < wanted_per_thread; ++i)
        positions[i] = below[i] < count && list[min(below[i], last)] == wanted[i] ? base + below[i] : none;
}

__device__ void stage(const std::uint32_t *list, std::uint32_t count, std::uint32_t *staged) {
    constexpr unsigned at_once = 8;
    for (unsigned begin = threadIdx.x; begin < count; begin += at_once * block_threads) {
        std::uint32_t some[at_once];
        for (unsigned i = 0; i < at_once; ++i) some[i] = list[min(begin + i * block_threads, count - 1)];
        for (unsigned i = 0; i < at_once; ++i)
            if (begin + i * block_threads < count) staged[begin + i * block_threads] = some[i];
    }
}

// A block takes some of the wanted and the part of the sorted that they may be in: where that is short it is loaded
// first, and searched in shared memory.
__global__ void find_positions(const __grid_constant__ speft_find_indices f) {
    __shared__ std::uint64_t edges[2];
    __shared__ std::uint32_t staged[most_staged];
    const std::uint64_t begin = std::uint64_t{blockIdx.x} * wanted_per_block;
    const std::uint64_t end = min(begin + wanted_per_block, f.wanted_count);
    if (warp() < 2) {
        const std::uint32_t least = f.wanted[begin], most = f.wanted[end - 1];
        const std::uint64_t edge = find_with_warp(0, f.sorted_count, [&](std::uint64_t place) {
            return warp() == 0 ? f.sorted[place] < least : f.sorted[place] <= most;
        });
        if (lane() == 0) edges[warp()] = edge;
    }
    std::uint32_t wanted[wanted_per_thread], positions[wanted_per_thread];
    for (unsigned i = 0; i < wanted_per_thread; ++i) {
        wanted[i] = f.wanted[min(begin + threadIdx.x + i * block_threads, end - 1)];
        positions[i] = none;
    }
    __syncthreads();
    const std::uint32_t *const sorted = f.sorted + edges[0];
    const auto count = static_cast<std::uint32_t>(edges[1] - edges[0]);
    const std::uint32_t base = f.base + static_cast<std::uint32_t>(edges[0]);
    if (count <= most_staged) stage(sorted, count, staged);
    __syncthreads();
    if (count > most_staged)
        search(sorted, count, base, wanted, positions);
    else if (count > 0)
        search(staged, count, base, wanted, positions);
    for (unsigned i = 0; i < wanted_per_thread; ++i) {
        const std::uint64_t j = begin + threadIdx.x + i * block_threads;
        if (j < end) f.positions[j] = positions[i];
    }
}

// ---- combine_indices ----

constexpr unsigned merged_per_thread = 16;
constexpr unsigned merged_per_block = block_threads * merged_per_thread;

// What a block merges, in shared memory: some elements of each list. One of the first list lies before them and one of
// the second behind, where there are any: equal elements are neighbours in the merge, so that whether one is in both
// lists can be seen there. The second's elements follow the first's.
struct MergePart {
    const std::uint32_t *first;
    const std::uint32_t *second;
    unsigned first_count;
    unsigned second_count;
    bool has_before;
    bool has_behind;
};

constexpr unsigned staged_for_merge = merged_per_block + 2;

__device__ std::uint64_t split_with_warp(const speft_combine_indices &c, std::uint64_t length) {
    const SplitRange range = possible_splits(c.first_count, c.second_count, length);
    return find_with_warp(range.least, range.most, [&](std::uint64_t candidate) {
        return splits_above(c.first, c.second, length, candidate);
    });
}

// Loads the part of this block, whose end takes splits[0] and splits[1] of the first list.
__device__ MergePart stage_part(const speft_combine_indices &c, const std::uint64_t (&splits)[2],
                                std::uint32_t *staged) {
    const std::uint64_t begin = std::uint64_t{blockIdx.x} * merged_per_block;
    const std::uint64_t end = min(begin + merged_per_block, c.first_count + c.second_count);
    const std::uint64_t second_begin = begin - splits[0], second_end = end - splits[1];
    MergePart part;
    part.first_count = static_cast<unsigned>(splits[1] - splits[0]);
    part.second_count = static_cast<unsigned>(second_end - second_begin);
    part.has_before = splits[0] > 0;
    part.has_behind = second_end < c.second_count;
    std::uint32_t *const first = staged + 1, *const second = first + part.first_count;
    const unsigned length = part.first_count + part.second_count;
    std::uint32_t own[merged_per_thread];
    for (unsigned i = 0; i < merged_per_thread; ++i) {
        const unsigned place = min(threadIdx.x + i * block_threads, length - 1);
        const bool is_first = place < part.first_count;
        own[i] = *(is_first ? c.first + splits[0] + place : c.second + second_begin + (place - part.first_count));
    }
    for (unsigned i = 0; i < merged_per_thread; ++i) {
        const unsigned place = threadIdx.x + i * block_threads;
        if (place < length) first[place] = own[i];
    }
    if (threadIdx.x == 0 && part.has_before) staged[0] = c.first[splits[0] - 1];
    if (threadIdx.x == 0 && part.has_behind) second[part.second_count] = c.second[second_end];
    part.first = first;
    part.second = second;
    __syncthreads();
    return part;
}

// Merges the thread's elements; bit i of the answer tells whether elements[i] is kept.
__device__ unsigned merge_own(const MergePart &part, bool unites, std::uint32_t (&elements)[merged_per_thread]) {
    const unsigned length = part.first_count + part.second_count;
    const unsigned begin = min(threadIdx.x * merged_per_thread, length);
    auto i = static_cast<unsigned>(
        find_split(part.first, part.first_count, part.second, part.second_count, begin));
    unsigned j = begin - i, kept = 0;
    // Whatever i and j become, these are inside what is staged. No branches: a warp's threads would take turns.
    std::uint32_t a = part.first[i], b = part.second[j], before = part.first[static_cast<int>(i) - 1];
    bool has_before = i > 0 || part.has_before;
    for (unsigned place = 0; place < merged_per_thread; ++place) {
        const bool has_first = i < part.first_count, has_second = j < part.second_count;
        const bool takes_first = has_first & (!has_second | (a <= b)), takes_second = !takes_first & has_second;
        const bool a_in_both = (has_second | part.has_behind) & (a == b), b_in_both = has_before & (before == b);
        elements[place] = takes_first ? a : b;
        const bool keep = (takes_first & (unites | !a_in_both)) | (takes_second & unites & !b_in_both);
        kept |= static_cast<unsigned>(keep) << place;
        i += takes_first;
        j += takes_second;
        const std::uint32_t next = part.first[takes_first ? i : part.first_count + j];
        before = takes_first ? a : before;
        has_before |= takes_first;
        a = takes_first ? next : a;
        b = takes_first ? b : next;
    }
    return kept;
}

// counts[block] = how many elements the block's part of the merge gives; splits[block] = where it begins.
__global__ void count_combined(const __grid_constant__ speft_combine_indices c, std::uint64_t *splits,
                               std::uint64_t *counts) {
    __shared__ std::uint64_t own_splits[2];
    __shared__ std::uint32_t staged[staged_for_merge];
    if (warp() < 2) {
        const std::uint64_t length =
            min((std::uint64_t{blockIdx.x} + warp()) * merged_per_block, c.first_count + c.second_count);
        const std::uint64_t split = split_with_warp(c, length);
        if (lane() == 0) own_splits[warp()] = split;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        splits[blockIdx.x] = own_splits[0];
        if (blockIdx.x == gridDim.x - 1) splits[gridDim.x] = own_splits[1];
    }
    const MergePart part = stage_part(c, own_splits, staged);
    std::uint32_t elements[merged_per_thread];
    const unsigned kept = merge_own(part, c.combination == SPEFT_COMBINE_UNION, elements);
    const unsigned count = block_sum(static_cast<unsigned>(__popc(kept)));
    if (threadIdx.x == 0) counts[blockIdx.x] = count;
}

constexpr unsigned scan_threads = 1024;
constexpr unsigned scanned_per_thread = 8;

// Each count becomes the sum of those before it; the sum of all follows them. One block.
__global__ void scan_counts(std::uint64_t *counts, std::uint64_t count) {
    std::uint64_t before = 0;
    for (std::uint64_t begin = 0; begin < count; begin += scan_threads * scanned_per_thread) {
        const std::uint64_t first = begin + threadIdx.x * scanned_per_thread;
        std::uint64_t own[scanned_per_thread], sum = 0, total = 0;
        for (unsigned i = 0; i < scanned_per_thread; ++i) {
            own[i] = first + i < count ? counts[first + i] : 0;
            sum += own[i];
        }
        std::uint64_t place = before + block_sum_before<scan_threads>(sum, total);
        for (unsigned i = 0; i < scanned_per_thread; ++i) {
            if (first + i < count) counts[first + i] = place;
            place += own[i];
        }
        before += total;
    }
    if (threadIdx.x == 0) counts[count] = before;
}

__global__ void write_combined(const __grid_constant__ speft_combine_indices c, const std::uint64_t *splits,
                               const std::uint64_t *places) {
    __shared__ std::uint32_t staged[staged_for_merge];
    const std::uint64_t own_splits[2] = {splits[blockIdx.x], splits[blockIdx.x + 1]};
    const MergePart part = stage_part(c, own_splits, staged);
    std::uint32_t elements[merged_per_thread];
    const unsigned kept = merge_own(part, c.combination == SPEFT_COMBINE_UNION, elements);
    unsigned count = 0;
    // Its barrier also ends the reading of `staged`, which is written next.
    unsigned place = block_sum_before(static_cast<unsigned>(__popc(kept)), count);
    for (unsigned i = 0; i < merged_per_thread; ++i)
        if (kept >> i & 1) staged[place++] = elements[i];
    __syncthreads();
    std::uint32_t *const indices = c.indices + places[blockIdx.x];
    for (unsigned i = threadIdx.x; i < count; i += block_threads) indices[i] = staged[i];
}

std::uint64_t count_merge_parts(const speft_combine_indices &arguments) {
    return divide_up(arguments.first_count + arguments.second_count, merged_per_block);
}

}  // namespace

void upload(const speft_backend_device &device, void *target, const void *source, std::uint64_t bytes) {
    for (std::uint64_t done = 0; done < bytes; done += Chunk::capacity) {
        Chunk chunk;
        const std::uint64_t length = std::min(bytes - done, Chunk::capacity);
        std::memcpy(chunk.bytes, static_cast<const unsigned char *>(source) + done, length);
        launch(device, "upload", {.blocks = 1}, store_chunk, chunk, static_cast<unsigned char *>(target) + done,
               static_cast<std::uint32_t>(length));
    }
}

void scale(speft_backend_device &device, const speft_scale &arguments, void *) {
    for_each_values(arguments.values, arguments.counts, arguments.arrays, [&](const Batch<Values> &batch, unsigned blocks) {
        launch(device, "scale", {.blocks = blocks}, scale_values, batch, arguments.factor);
    });
}

std::uint64_t sum_squares_scratch(const speft_backend_device &, const speft_sum_squares &arguments) {
    return (count_partials(arguments.counts, arguments.arrays) + 1) * sizeof(double);
}

void sum_squares(speft_backend_device &device, const speft_sum_squares &arguments, void *scratch) {
    double *const sum = static_cast<double *>(scratch), *const partial = sum + 1;
    // Read only; the group of `scale` has no other type.
    for_each_values(const_cast<float *const *>(arguments.values), arguments.counts, arguments.arrays,
                    [&](const Batch<Values> &batch, unsigned blocks) {
                        launch(device, "sum_squares", {.blocks = blocks}, sum_block_squares, batch, partial);
                    });
    launch(device, "sum_squares", {.blocks = 1}, sum_partials, partial,
           count_partials(arguments.counts, arguments.arrays), sum);
    read(device, arguments.sum, sum, sizeof *arguments.sum);
}

void add_values(speft_backend_device &device, const speft_add_values &arguments, void *) {
    if (arguments.count == 0) return;
    choose_scalar(arguments.source_type, [&](auto scalar) {
        using Scalar = decltype(scalar);
        std::uint64_t head = 0;  // before sums are aligned to a pack
        while (head < arguments.count && !is_aligned(arguments.sums + head, sums_per_pack * sizeof(float))) ++head;
        const auto *const source = static_cast<const Scalar *>(arguments.source) + head;
        if (arguments.indices || !is_aligned(source, sums_per_pack * sizeof(Scalar))) {
            const std::uint64_t blocks = divide_up(arguments.count, block_threads * sums_per_thread);
            launch(device, "add_values", {.blocks = static_cast<unsigned>(blocks)}, add_singles<Scalar>, arguments);
        } else {
            const std::uint64_t packs = (arguments.count - head) / sums_per_pack;
            const std::uint64_t blocks = std::max<std::uint64_t>(divide_up(packs, block_threads * packs_per_thread), 1);
            launch(device, "add_values", {.blocks = static_cast<unsigned>(blocks)}, add_packs<Scalar>, arguments, head);
        }
    });
}

std::uint64_t add_column_squares_scratch(const speft_backend_device &device,
                                         const speft_add_column_squares &arguments) {
    return split_tokens(device, arguments).parts * arguments.columns * sizeof(float);
}

void add_column_squares(speft_backend_device &device, const speft_add_column_squares &arguments, void *scratch) {
    const Split split = split_tokens(device, arguments);
    auto *const partial = static_cast<float *>(scratch);
    choose_scalar(arguments.x_type, [&](auto scalar) {
        using Scalar = decltype(scalar);
        const bool packed = is_aligned(arguments.x, 16) && arguments.columns * sizeof(Scalar) % 16 == 0;
        const auto strips = static_cast<unsigned>(divide_up(arguments.columns, strip_columns));
        launch(device, "add_column_squares", {.blocks = dim3(strips, split.parts)},
               packed ? sum_column_squares<Scalar, true> : sum_column_squares<Scalar, false>, arguments, split.tokens,
               partial);
    });
    launch(device, "add_column_squares",
           {.blocks = static_cast<unsigned>(divide_up(arguments.columns, warp_threads))}, add_column_sums, arguments,
           partial, split.parts);
}

void take(speft_backend_device &device, const speft_take &arguments, void *) {
    if (arguments.count == 0 || arguments.element_bytes == 0) return;
    const auto is_of = [&](std::uint64_t bytes) {
        return arguments.element_bytes % bytes == 0 && is_aligned(arguments.source, bytes) &&
               is_aligned(arguments.target, bytes);
    };
    if (is_of(16)) return launch_take<uint4>(device, arguments);
    if (is_of(8)) return launch_take<uint2>(device, arguments);
    if (is_of(4)) return launch_take<std::uint32_t>(device, arguments);
    if (is_of(2)) return launch_take<std::uint16_t>(device, arguments);
    launch_take<std::uint8_t>(device, arguments);
}

void find_indices(speft_backend_device &device, const speft_find_indices &arguments, void *) {
    const std::uint64_t blocks = divide_up(arguments.wanted_count, wanted_per_block);
    launch(device, "find_indices", {.blocks = static_cast<unsigned>(blocks)}, find_positions, arguments);
}

// The parts' splits, then their places in `indices`, each with an end.
std::uint64_t combine_indices_scratch(const speft_backend_device &, const speft_combine_indices &arguments) {
    return 2 * (count_merge_parts(arguments) + 1) * sizeof(std::uint64_t);
}

void combine_indices(speft_backend_device &device, const speft_combine_indices &arguments, void *scratch) {
    const std::uint64_t parts = count_merge_parts(arguments);
    *arguments.count = 0;
    if (parts == 0) return;
    auto *const splits = static_cast<std::uint64_t *>(scratch), *const places = splits + parts + 1;
    const Grid grid{.blocks = static_cast<unsigned>(parts)};
    launch(device, "combine_indices", grid, count_combined, arguments, splits, places);
    launch(device, "combine_indices", {.blocks = 1, .threads = scan_threads}, scan_counts, places, parts);
    launch(device, "combine_indices", grid, write_combined, arguments, splits, places);
    read(device, arguments.count, places + parts, sizeof *arguments.count);
}

}  // namespace speft::cuda
