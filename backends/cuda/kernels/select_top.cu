// The k largest scores of all tensors, and of each row of one. Scores are computed anew wherever they are asked for and
// never stored.
//
// "radix": histograms of all keys find the key of the k-th largest digit by digit; one pass counts what each tile gives
// and one writes it. It takes everything.
// "bracketed": a sample gives a bound that some more than k scores should reach; one pass over the data keeps the keys
// and indices of those that do; and the same is done among these survivors alone. Whether the bound was good is known
// by counting: when too few reach it, or too many, "radix" selects instead.
#include <vector>

#include "backends/cuda/kernels/block.h"
#include "backends/cuda/kernels/grouped.h"
#include "backends/cuda/kernels/key_search.h"
#include "backends/cuda/kernels/prefix_sums.h"
#include "backends/cuda/kernels/score_keys.h"
#include "backends/cuda/kernels/scratch.h"
#include "backends/cuda/kernels/upload.h"
#include "backends/cuda/operations.h"
#include "core/base/score_bracket.h"
#include "core/base/status.h"

namespace speft::cuda {
namespace {

using Counter = unsigned long long;  // what atomics take

struct ScoredTensor {
    speft_score score;
    std::uint64_t begin;  // in the order of all scalars
    std::uint64_t first_tile;
};

using Tensors = Batch<ScoredTensor>;

// The bound in terms of what is compared with it.
struct Bound {
    std::uint32_t key;
    std::uint32_t brain;  // the lowest magnitude of bfloat16 with that key
    std::uint32_t half;   // and of float16
};

// What the kernels of a selection tell each other and the host.
struct Control {
    Counter survivors;  // places taken among them, also past their capacity
    Counter ineligible;
    Counter eligible;
    KeySearch search;
    Bound bound;
    std::uint32_t highest;  // key of a survivor
};

// ---- digits ----

constexpr std::uint32_t bins_per_thread = digit_bins / block_threads;

// Finds the next digit from its histogram, which is cleared. All threads of a block; thread 0 has the highest bins.
// Returns the sum of the histogram.
template <class Bin>
__device__ std::uint64_t take_digit(Bin *histogram, KeySearch *search) {
    const std::uint32_t end = digit_bins - threadIdx.x * bins_per_thread;
    const std::uint64_t remaining = search->remaining;
    std::uint64_t own = 0, total;
    for (std::uint32_t i = 1; i <= bins_per_thread; ++i) own += histogram[end - i];
    std::uint64_t above = block_sum_before(own, total);
    if (above < remaining && remaining <= above + own) {
        std::uint32_t bin = end - 1;
        for (; above + histogram[bin] < remaining; --bin) above += histogram[bin];
        search->take(bin, above);
    }
    if (threadIdx.x == 0 && total < remaining) search->take(0, 0);
    for (std::uint32_t i = 1; i <= bins_per_thread; ++i) histogram[end - i] = 0;
    __syncthreads();
    return total;
}

__global__ void find_digit(Counter *histogram, Control *control, bool first) {
    if (control->search.is_done()) return;
    const std::uint64_t total = take_digit(histogram, &control->search);
    if (first && threadIdx.x == 0) control->eligible = total;
}

__device__ inline void clear_bins(std::uint32_t *bins) {
    for (std::uint32_t bin = threadIdx.x; bin < digit_bins; bin += block_threads) bins[bin] = 0;
    __syncthreads();
}

__device__ inline void count_key(std::uint32_t *bins, const KeySearch &search, std::uint32_t key) {
    if (key == 0) return;
    const std::uint32_t bin = search.bin_of(key);
    if (bin < digit_bins) atomicAdd(&bins[bin], 1u);
}

__device__ inline void add_bins(const std::uint32_t *bins, Counter *histogram) {
    __syncthreads();
    for (std::uint32_t bin = threadIdx.x; bin < digit_bins; bin += block_threads)
        if (bins[bin] > 0) atomicAdd(&histogram[bin], Counter{bins[bin]});
}

__global__ void count_keys(const std::uint32_t *keys, std::uint64_t count, const Control *control, Counter *histogram) {
    const KeySearch search = control->search;
    if (search.is_done()) return;
    __shared__ std::uint32_t bins[digit_bins];
    clear_bins(bins);
    for (std::uint64_t i = first_item(); i < count; i += item_stride()) count_key(bins, search, keys[i]);
    add_bins(bins, histogram);
}

__global__ void count_scores(const __grid_constant__ Tensors batch, const Control *control, Counter *histogram) {
    const KeySearch search = control->search;
    if (search.is_done()) return;
    const BlockTask task = find_task(batch, blockIdx.x);
    const speft_score &score = batch.items[task.item].score;
    __shared__ std::uint32_t bins[digit_bins];
    clear_bins(bins);
    visit_keys(score, make_tile(0, score.count, task.block),
               [&](std::uint32_t, std::uint32_t key) { count_key(bins, search, key); });
    add_bins(bins, histogram);
}

// ---- in order ----

// A thread's share of a tile's bits: two words.
constexpr std::uint32_t words_per_thread = tile_words / block_threads;

// Marks the keys of a tile above the threshold, and those equal to it.
__device__ inline void mark_keys(const speft_score &score, Tile tile, std::uint32_t threshold, std::uint32_t *above,
                                 std::uint32_t *equal) {
    for (std::uint32_t word = threadIdx.x; word < tile_words; word += block_threads) above[word] = equal[word] = 0;
    __syncthreads();
    visit_keys(score, tile, [&](std::uint32_t offset, std::uint32_t key) {
        const std::uint32_t larger = __ballot_sync(full_warp, key > threshold);
        const std::uint32_t same = __ballot_sync(full_warp, key == threshold);
        if (lane() == 0) {
            above[offset / 32] = larger;
            equal[offset / 32] = same;
        }
    });
    __syncthreads();
}

// Writes the indices of a tile: of those marked as above, and of the first `ties` that are marked as equal. How many of
// each there are is in the result.
__device__ inline KeysBefore write_marked(Tile tile, const std::uint32_t *above, const std::uint32_t *equal,
                                          std::uint64_t ties, std::uint32_t *indices) {
    const std::uint32_t first = threadIdx.x * words_per_thread;
    std::uint64_t own = 0, total;  // the equal ones in the high half
    for (std::uint32_t word = first; word < first + words_per_thread; ++word)
        own += __popc(above[word]) + (std::uint64_t(__popc(equal[word])) << 32);
    const std::uint64_t before = block_sum_before(own, total);
    const KeysBefore keys{before & UINT32_MAX, before >> 32};
    std::uint64_t place = count_selected(keys, ties), left = count_ties_left(keys, ties);
    for (std::uint32_t word = first; word < first + words_per_thread; ++word) {
        for (std::uint32_t bits = above[word] | equal[word]; bits != 0; bits &= bits - 1) {
            const std::uint32_t bit = __ffs(static_cast<int>(bits)) - 1;
            if ((above[word] >> bit & 1) == 0) {
                if (left == 0) continue;
                --left;
            }
            indices[place++] = static_cast<std::uint32_t>(tile.begin) + word * 32 + bit;
        }
    }
    return {total & UINT32_MAX, total >> 32};
}

__global__ void count_marked(const __grid_constant__ Tensors batch, const Control *control, KeysBefore *tiles) {
    const BlockTask task = find_task(batch, blockIdx.x);
    const ScoredTensor &tensor = batch.items[task.item];
    const std::uint32_t threshold = control->search.key();
    std::uint32_t above = 0, equal = 0;
    visit_keys(tensor.score, make_tile(0, tensor.score.count, task.block), [&](std::uint32_t, std::uint32_t key) {
        above += key > threshold;
        equal += key == threshold;
    });
    above = block_sum(above);
    equal = block_sum(equal);
    if (threadIdx.x == 0) tiles[tensor.first_tile + task.block] = {above, equal};
}

__global__ void write_scores(const __grid_constant__ Tensors batch, const Control *control, const KeysBefore *tiles,
                             std::uint32_t *indices) {
    __shared__ std::uint32_t above[tile_words], equal[tile_words];
    const BlockTask task = find_task(batch, blockIdx.x);
    const ScoredTensor &tensor = batch.items[task.item];
    const std::uint64_t ties = control->search.remaining;
    const KeysBefore *const before = tiles + tensor.first_tile + task.block;
    const std::uint64_t place = count_selected(before[0], ties);
    if (count_selected(before[1], ties) == place) return;
    const Tile tile = make_tile(0, tensor.score.count, task.block);
    mark_keys(tensor.score, tile, control->search.key(), above, equal);
    write_marked(tile, above, equal, count_ties_left(before[0], ties), indices + place);
}

// counts[t] = how many are selected of tensor t; a block for each.
__global__ void count_tensors(const __grid_constant__ Tensors batch, const Control *control, const KeysBefore *tiles,
                              std::uint64_t *counts) {
    if (threadIdx.x > 0) return;
    const ScoredTensor &tensor = batch.items[blockIdx.x];
    const KeysBefore *const first = tiles + tensor.first_tile;
    const std::uint64_t ties = control->search.remaining;
    counts[batch.first + blockIdx.x] =
        count_selected(first[count_tiles(tensor.score.count)], ties) - count_selected(first[0], ties);
}

// ---- the sample ----

__device__ inline bool is_excluded(const speft_score &score, std::uint64_t index) {
    const std::uint64_t place = find_place(score.excluded, score.excluded_count, index);
    return place < score.excluded_count && score.excluded[place] == index;
}

// Those of the sample that lie in tensors of the batch.
__global__ void sample_keys(const __grid_constant__ Tensors batch, const ScoreSample sample, std::uint32_t *keys) {
    const ScoredTensor &last = batch.items[batch.count - 1];
    for (std::uint64_t i = first_item(); i < sample.size(); i += item_stride()) {
        const std::uint64_t at = sample.begin_of(i / ScoreSample::line) + i % ScoreSample::line;
        if (at < batch.items[0].begin || at >= last.begin + last.score.count) continue;
        std::uint32_t low = 0, high = batch.count;
        while (high - low > 1) {
            const std::uint32_t middle = (low + high) / 2;
            if (batch.items[middle].begin <= at)
                low = middle;
            else
                high = middle;
        }
        const speft_score &score = batch.items[low].score;
        const std::uint64_t index = at - batch.items[low].begin;
        keys[i] = is_excluded(score, index) ? 0 : compute_key(score, index);
    }
}

__global__ void set_bound(Control *control) {
    if (threadIdx.x > 0) return;
    const std::uint32_t key = max(control->search.key(), lowest_key);
    control->bound = {key, find_lowest_magnitude(std::uint16_t{0x7f80}, key,
                                                 [](std::uint16_t bits) { return to_float(BFloat16{bits}); }),
                      find_lowest_magnitude(std::uint16_t{0x7c00}, key,
                                            [](std::uint16_t bits) { return to_float(Float16{bits}); })};
}

// ---- the pass over the data ----

// Eight neighbours as they are in memory, and which of them reach the bound: bit e is scalar e's.

template <class Element>
__device__ inline bool is_aligned(const Element *values) {
    return reinterpret_cast<std::uintptr_t>(values) % 16 == 0;
}

__device__ inline void load_eight(const float *place, float (&values)[8]) {
    const float4 low = reinterpret_cast<const float4 *>(place)[0], high = reinterpret_cast<const float4 *>(place)[1];
    values[0] = low.x, values[1] = low.y, values[2] = low.z, values[3] = low.w;
    values[4] = high.x, values[5] = high.y, values[6] = high.z, values[7] = high.w;
}

template <class Scalar>
__device__ inline void load_eight(const Scalar *place, Scalar (&values)[8]) {
    const uint4 all = *reinterpret_cast<const uint4 *>(place);
    const std::uint32_t words[4] = {all.x, all.y, all.z, all.w};
    for (unsigned i = 0; i < 4; ++i) {
        values[2 * i] = {static_cast<std::uint16_t>(words[i])};
        values[2 * i + 1] = {static_cast<std::uint16_t>(words[i] >> 16)};
    }
}

// Scores of a formula without factors.
template <class Scalar, std::int32_t formula>
class Octet {
public:
    static __device__ bool takes(const speft_score &score) {
        return (!reads_weights || is_aligned(static_cast<const Scalar *>(score.weights))) &&
               (!reads_reference || is_aligned(static_cast<const Scalar *>(score.reference))) &&
               (!reads_sums || is_aligned(score.sums));
    }

    __device__ void load(const speft_score &score, std::uint64_t index) {
        if constexpr (reads_weights) load_eight(static_cast<const Scalar *>(score.weights) + index, weights_);
        if constexpr (reads_reference) load_eight(static_cast<const Scalar *>(score.reference) + index, reference_);
        if constexpr (reads_sums) load_eight(score.sums + index, sums_);
    }

    __device__ std::uint32_t compare(const speft_score &score, const Bound &bound, std::uint32_t &nans) const {
        speft_score own = score;
        own.formula = formula;
        own.weights = weights_;
        own.reference = reference_;
        own.sums = sums_;
        std::uint32_t mask = 0;
#pragma unroll
        for (unsigned e = 0; e < 8; ++e) {
            const std::uint32_t key = rank_key(compute_score<Scalar>(own, e));
            mask |= std::uint32_t{key >= bound.key} << e;
            nans += key == 0;
        }
        return mask;
    }

private:
    static constexpr bool reads_reference =
        formula == SPEFT_SCORE_ABS_DIFFERENCE || formula == SPEFT_SCORE_NEGATIVE_ABS_DIFFERENCE;
    static constexpr bool reads_weights = formula != SPEFT_SCORE_ABS_GRADIENT && formula != SPEFT_SCORE_GIVEN;
    static constexpr bool reads_sums = !reads_reference && formula != SPEFT_SCORE_ABS_WEIGHT &&
                                       formula != SPEFT_SCORE_NEGATIVE_ABS_WEIGHT;

    Scalar weights_[8];
    Scalar reference_[8];
    float sums_[8];
};

// |θ| of 16 bits: two at a time, by their bits.
template <class Scalar>
class MagnitudeOctet {
public:
    static __device__ bool takes(const speft_score &score) {
        return is_aligned(static_cast<const Scalar *>(score.weights));
    }

    __device__ void load(const speft_score &score, std::uint64_t index) {
        words_ = *reinterpret_cast<const uint4 *>(static_cast<const Scalar *>(score.weights) + index);
    }

    // Each half holds 15 bits, so that no sum of halves carries into the other: its highest bit tells whether the
    // magnitude is at least what was subtracted from that bit.
    __device__ std::uint32_t compare(const speft_score &, const Bound &bound, std::uint32_t &nans) const {
        constexpr bool brain = std::is_same_v<Scalar, BFloat16>;
        constexpr std::uint32_t pair = 0x10001u, top = 0x8000u * pair;
        constexpr std::uint32_t to_nan = (0x8000u - (brain ? 0x7f81u : 0x7c01u)) * pair;
        const std::uint32_t to_bound = (0x8000u - (brain ? bound.brain : bound.half)) * pair;
        const std::uint32_t words[4] = {words_.x, words_.y, words_.z, words_.w};
        std::uint32_t reached = 0, no_numbers = 0;
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) {
            const std::uint32_t magnitudes = words[i] & ~top;
            reached = reached >> 2 | ((magnitudes + to_bound) & top);
            no_numbers = no_numbers >> 2 | ((magnitudes + to_nan) & top);
        }
        if (no_numbers != 0) {
            nans += __popc(no_numbers);
            reached &= ~no_numbers;
        }
        // Now bits 9, 11, 13 and 15 are those of scalars 0, 2, 4 and 6; bits 25, 27, 29 and 31 of 1, 3, 5 and 7.
        return (reached >> 24 | reached >> 9) & 0xffu;
    }

private:
    uint4 words_;
};

// None: of formulas whose scalars are not read alone.
struct NoOctet {};

struct Survivors {
    std::uint32_t *keys;
    std::uint32_t *indices;
    std::uint64_t capacity;
};

// Where a tile's survivors are, in rising order.
struct TileRun {
    std::uint64_t first;
    std::uint64_t count;
};

constexpr std::uint32_t eights_per_thread = tile_size / 8 / block_threads;

// Marks what reaches the bound in a tile; adds to `ineligible`. A whole tile of aligned arrays, excluded ones and all.
template <class Eight>
__device__ inline void mark_eights(const speft_score &score, Tile tile, const Bound &bound, std::uint32_t *bits,
                                   std::uint32_t &ineligible) {
    constexpr std::uint32_t in_flight = 4;
    static_assert(eights_per_thread % in_flight == 0);
    auto *const bytes = reinterpret_cast<unsigned char *>(bits);
    for (std::uint32_t first = threadIdx.x; first < tile_size / 8; first += in_flight * block_threads) {
        Eight eights[in_flight];
#pragma unroll
        for (std::uint32_t i = 0; i < in_flight; ++i)
            eights[i].load(score, tile.begin + (first + i * block_threads) * std::uint64_t{8});
#pragma unroll
        for (std::uint32_t i = 0; i < in_flight; ++i)
            bytes[first + i * block_threads] =
                static_cast<unsigned char>(eights[i].compare(score, bound, ineligible));
    }
    __syncthreads();
    const ExcludedRange range = find_excluded(score, tile.begin, tile.begin + tile.size);
    for (std::uint64_t place = range.begin + threadIdx.x; place < range.end; place += block_threads) {
        const std::uint64_t index = score.excluded[place];
        const auto offset = static_cast<std::uint32_t>(index - tile.begin);
        ineligible += compute_key(score, index) != 0;  // the others are counted
        atomicAnd(&bits[offset / 32], ~(1u << offset % 32));
    }
    __syncthreads();
}

// Any tile.
__device__ inline void mark_singly(const speft_score &score, Tile tile, const Bound &bound, std::uint32_t *bits,
                                   std::uint32_t &ineligible) {
    for (std::uint32_t word = threadIdx.x; word < tile_words; word += block_threads) bits[word] = 0;
    __syncthreads();
    visit_keys(score, tile, [&](std::uint32_t offset, std::uint32_t key) {
        const std::uint32_t reached = __ballot_sync(full_warp, key >= bound.key);
        if (lane() == 0) bits[offset / 32] = reached;
        ineligible += key == 0 && offset < tile.size;
    });
    __syncthreads();
}

// Keeps what a tile has that reaches the bound, in places that are reserved for all of it at once.
template <class Eight>
__global__ void __launch_bounds__(block_threads)
    collect(const __grid_constant__ Tensors batch, const Survivors survivors, TileRun *runs, Control *control) {
    constexpr std::uint32_t listed = 2048;  // at a time
    __shared__ std::uint32_t bits[tile_words];
    __shared__ std::uint16_t offsets[listed];
    __shared__ Counter reserved;
    const BlockTask task = find_task(batch, blockIdx.x);
    const ScoredTensor &tensor = batch.items[task.item];
    const speft_score &score = tensor.score;
    const Tile tile = make_tile(0, score.count, task.block);
    const Bound bound = control->bound;
    std::uint32_t ineligible = 0;
    if constexpr (std::is_same_v<Eight, NoOctet>) {
        mark_singly(score, tile, bound, bits, ineligible);
    } else {
        if (tile.size == tile_size && Eight::takes(score))
            mark_eights<Eight>(score, tile, bound, bits, ineligible);
        else
            mark_singly(score, tile, bound, bits, ineligible);
    }
    ineligible = block_sum(ineligible);

    std::uint32_t own = 0, total;
    for (std::uint32_t i = 0; i < words_per_thread; ++i) own += __popc(bits[threadIdx.x * words_per_thread + i]);
    const std::uint32_t before = block_sum_before(own, total);
    if (threadIdx.x == 0) {
        reserved = atomicAdd(&control->survivors, Counter{total});
        runs[tensor.first_tile + task.block] = {reserved, total};
        if (ineligible > 0) atomicAdd(&control->ineligible, Counter{ineligible});
    }
    __syncthreads();
    if (reserved + total > survivors.capacity) return;

    std::uint32_t highest = 0;
    for (std::uint32_t first = 0; first < total; first += listed) {
        std::uint32_t rank = before;
        for (std::uint32_t i = 0; i < words_per_thread; ++i) {
            const std::uint32_t word = threadIdx.x * words_per_thread + i;
            for (std::uint32_t left = bits[word]; left != 0; left &= left - 1, ++rank)
                if (rank - first < listed)
                    offsets[rank - first] = static_cast<std::uint16_t>(word * 32 + __ffs(static_cast<int>(left)) - 1);
        }
        __syncthreads();
        for (std::uint32_t i = threadIdx.x; i < min(listed, total - first); i += block_threads) {
            const std::uint64_t index = tile.begin + offsets[i], place = reserved + first + i;
            const std::uint32_t key = compute_key(score, index);
            survivors.indices[place] = static_cast<std::uint32_t>(index);
            survivors.keys[place] = key;
            highest = max(highest, key);
        }
        __syncthreads();
    }
    highest = warp_max(highest);
    // Most tiles see that theirs is no news.
    if (lane() == 0 && highest > control->highest) atomicMax(&control->highest, highest);
}

// ---- among the survivors: a warp for each tile ----

constexpr unsigned block_warps = block_threads / warp_threads;

__device__ inline std::uint64_t warp_task() { return std::uint64_t{blockIdx.x} * block_warps + warp(); }

__global__ void count_survivors(const std::uint32_t *keys, const TileRun *runs, std::uint64_t tiles,
                                const Control *control, KeysBefore *counts) {
    const std::uint64_t tile = warp_task();
    if (tile >= tiles) return;
    const std::uint32_t threshold = control->search.key();
    const TileRun run = runs[tile];
    std::uint32_t above = 0, equal = 0;
    for (std::uint64_t i = lane(); i < run.count; i += warp_threads) {
        const std::uint32_t key = keys[run.first + i];
        above += key > threshold;
        equal += key == threshold;
    }
    above = warp_sum(above);
    equal = warp_sum(equal);
    if (lane() == 0) counts[tile] = {above, equal};
}

__global__ void write_survivors(const Survivors survivors, const TileRun *runs, std::uint64_t tiles,
                                const Control *control, const KeysBefore *counts, std::uint32_t *indices) {
    const std::uint64_t tile = warp_task();
    if (tile >= tiles) return;
    const std::uint32_t threshold = control->search.key(), earlier = (1u << lane()) - 1;
    const std::uint64_t ties = control->search.remaining;
    const TileRun run = runs[tile];
    std::uint64_t place = count_selected(counts[tile], ties), left = count_ties_left(counts[tile], ties);
    for (std::uint64_t first = 0; first < run.count; first += warp_threads) {
        const bool inside = first + lane() < run.count;
        const std::uint32_t key = inside ? survivors.keys[run.first + first + lane()] : 0;
        const std::uint32_t equal = __ballot_sync(full_warp, key == threshold);
        const bool taken = key > threshold || (key == threshold && std::uint64_t(__popc(equal & earlier)) < left);
        const std::uint32_t all = __ballot_sync(full_warp, taken);
        if (taken) indices[place + __popc(all & earlier)] = survivors.indices[run.first + first + lane()];
        place += __popc(all);
        left -= min(left, std::uint64_t(__popc(equal)));
    }
}

// ---- the host's side ----

// visitor(Eight{}) for the formula and the type of a tensor's scores.
template <std::int32_t formula, class Visitor>
void visit_weights(const speft_score &score, Visitor &visitor) {
    constexpr bool by_bits = formula == SPEFT_SCORE_ABS_WEIGHT;
    switch (score.weights_type) {
    case SPEFT_SCALAR_FLOAT32: return visitor(Octet<float, formula>{});
    case SPEFT_SCALAR_BFLOAT16:
        return visitor(std::conditional_t<by_bits, MagnitudeOctet<BFloat16>, Octet<BFloat16, formula>>{});
    default: return visitor(std::conditional_t<by_bits, MagnitudeOctet<Float16>, Octet<Float16, formula>>{});
    }
}

template <class Visitor>
void visit_octet(const speft_score &score, Visitor &&visitor) {
    switch (score.formula) {
    case SPEFT_SCORE_ABS_WEIGHT: return visit_weights<SPEFT_SCORE_ABS_WEIGHT>(score, visitor);
    case SPEFT_SCORE_ABS_GRADIENT: return visitor(Octet<float, SPEFT_SCORE_ABS_GRADIENT>{});
    case SPEFT_SCORE_ABS_PRODUCT: return visit_weights<SPEFT_SCORE_ABS_PRODUCT>(score, visitor);
    case SPEFT_SCORE_GIVEN: return visitor(Octet<float, SPEFT_SCORE_GIVEN>{});
    case SPEFT_SCORE_PRODUCT: return visit_weights<SPEFT_SCORE_PRODUCT>(score, visitor);
    case SPEFT_SCORE_NEGATIVE_PRODUCT: return visit_weights<SPEFT_SCORE_NEGATIVE_PRODUCT>(score, visitor);
    case SPEFT_SCORE_NEGATIVE_ABS_WEIGHT: return visit_weights<SPEFT_SCORE_NEGATIVE_ABS_WEIGHT>(score, visitor);
    case SPEFT_SCORE_ABS_DIFFERENCE: return visit_weights<SPEFT_SCORE_ABS_DIFFERENCE>(score, visitor);
    case SPEFT_SCORE_NEGATIVE_ABS_DIFFERENCE:
        return visit_weights<SPEFT_SCORE_NEGATIVE_ABS_DIFFERENCE>(score, visitor);
    default: return visitor(NoOctet{});
    }
}

bool is_alike(const speft_score &a, const speft_score &b) {
    return a.formula == b.formula && a.weights_type == b.weights_type;
}

constexpr std::uint64_t most_sample_lines = 65536;

std::uint64_t sum_counts(const speft_select_top &arguments) {
    std::uint64_t total = 0;
    for (std::uint64_t tensor = 0; tensor < arguments.tensors; ++tensor) total += arguments.scores[tensor].count;
    return total;
}

// What both implementations have.
struct TopScratch {
    Control *control;
    Counter *histogram;  // zeros whenever no digit is being counted
    KeysBefore *tiles;   // and the total past the last
    std::uint64_t *group_sums;
    std::uint64_t *counts;

    TopScratch(Scratch &scratch, std::uint64_t tile_count, std::uint64_t tensors)
        : control(scratch.take<Control>(1)), histogram(scratch.take<Counter>(digit_bins)),
          tiles(scratch.take<KeysBefore>(tile_count + 1)),
          group_sums(scratch.take<std::uint64_t>(count_group_sums(tile_count + 1, 2))),
          counts(scratch.take<std::uint64_t>(tensors)) {}
};

std::uint64_t sum_tiles(const speft_select_top &arguments) {
    std::uint64_t tiles = 0;
    for (std::uint64_t tensor = 0; tensor < arguments.tensors; ++tensor)
        tiles += count_tiles(arguments.scores[tensor].count);
    return tiles;
}

// What the bracketed one has besides: 8 bytes for each survivor, 16 for each tile, and the sample.
struct BracketScratch {
    std::uint32_t *sample;
    TileRun *runs;
    Survivors survivors;

    BracketScratch(Scratch &scratch, const ScoreSample &sampled, const ScoreBracket &bracket, std::uint64_t tile_count)
        : sample(scratch.take<std::uint32_t>(sampled.size())), runs(scratch.take<TileRun>(tile_count)),
          survivors{scratch.take<std::uint32_t>(bracket.capacity), scratch.take<std::uint32_t>(bracket.capacity),
                    bracket.capacity} {}
};

class TopSelection {
public:
    TopSelection(speft_backend_device &device, const speft_select_top &arguments, Scratch &scratch)
        : device_(device), arguments_(arguments), tile_count_(sum_tiles(arguments)),
          scratch_(scratch, tile_count_, arguments.tensors) {
        std::uint64_t tiles = 0;
        for (std::uint64_t i = 0; i < arguments.tensors; ++i) {
            const speft_score &score = arguments.scores[i];
            tensors_.push_back({score, total_, tiles});
            total_ += score.count;
            tiles += count_tiles(score.count);
        }
        check(cudaMemsetAsync(scratch_.histogram, 0, digit_bins * sizeof(Counter), device.stream), "select_top");
    }

    void select_by_radix() {
        constexpr unsigned digits = count_digits(32);
        planned_ += digits + 1;
        start(begin_search(0, UINT32_MAX, 0, arguments_.k));
        for (unsigned digit = 0; digit < digits; ++digit) {
            for_each_tiles([&](const Tensors &batch, unsigned blocks) {
                launch(device_, "select_top", {.blocks = blocks}, count_scores, batch, scratch_.control,
                       scratch_.histogram);
            });
            launch(device_, "select_top", {.blocks = 1}, find_digit, scratch_.histogram, scratch_.control, digit == 0);
            if (digit == 0) {
                *arguments_.eligible = read_control().eligible;
                if (*arguments_.eligible < arguments_.k) return;
                if (arguments_.k == 0) {
                    std::fill_n(arguments_.counts, arguments_.tensors, 0);
                    return;
                }
            }
            report();
        }
        for_each_tiles([&](const Tensors &batch, unsigned blocks) {
            launch(device_, "select_top", {.blocks = blocks}, count_marked, batch, scratch_.control, scratch_.tiles);
        });
        place_tiles();
        report();
        for_each_tiles([&](const Tensors &batch, unsigned blocks) {
            launch(device_, "select_top", {.blocks = blocks}, write_scores, batch, scratch_.control, scratch_.tiles,
                   arguments_.indices);
        });
        read_counts();
    }

    void select_bracketed(const ScoreSample &sample, const ScoreBracket &bracket, const BracketScratch &more) {
        unsigned zero_bits = 32;
        for (const ScoredTensor &tensor : tensors_) zero_bits = std::min(zero_bits, count_zero_bits(tensor.score));
        planned_ += 1;
        find_bound(sample, bracket.bound_rank, zero_bits, more.sample);
        collect_survivors(more);
        const Control control = read_control();
        report();
        if (control.survivors < arguments_.k || control.survivors > bracket.capacity) return select_by_radix();
        *arguments_.eligible = total_ - control.ineligible;

        start(begin_search(control.bound.key, std::max(control.bound.key, control.highest), zero_bits, arguments_.k));
        find_key(more.survivors.keys, control.survivors);
        const Grid grid{.blocks = static_cast<unsigned>((tile_count_ + block_warps - 1) / block_warps)};
        launch(device_, "select_top", grid, count_survivors, more.survivors.keys, more.runs, tile_count_,
               scratch_.control, scratch_.tiles);
        place_tiles();
        launch(device_, "select_top", grid, write_survivors, more.survivors, more.runs, tile_count_, scratch_.control,
               scratch_.tiles, arguments_.indices);
        read_counts();
    }

private:
    void start(const KeySearch &search) const {
        Control control{};
        control.search = search;
        upload(device_, scratch_.control, &control, sizeof control);
    }

    Control read_control() const {
        Control control;
        read(device_, &control, scratch_.control, sizeof control);
        return control;
    }

    // launch(batch, blocks), a block for each tile.
    template <class Launch>
    void for_each_tiles(Launch &&launch) const {
        for_each_batch(tensors_.data(), tensors_.size(), tile_size,
                       [](const ScoredTensor &tensor) { return tensor.score.count; }, launch);
    }

    // launch(batch), whatever the tensors' lengths.
    template <class Launch>
    void for_each_tensors(Launch &&launch) const {
        for_each_batch(tensors_.data(), tensors_.size(), 1, [](const ScoredTensor &) { return std::uint64_t{1}; },
                       launch);
    }

    // The search that was started, among keys in memory.
    void find_key(const std::uint32_t *keys, std::uint64_t count) const {
        constexpr std::uint64_t keys_per_block = 8 * block_threads;
        for (unsigned digit = 0; digit < count_digits(32); ++digit) {
            launch(device_, "select_top", {.blocks = count_blocks(device_, count, keys_per_block)}, count_keys, keys,
                   count, scratch_.control, scratch_.histogram);
            launch(device_, "select_top", {.blocks = 1}, find_digit, scratch_.histogram, scratch_.control, false);
        }
    }

    void find_bound(const ScoreSample &sample, std::uint64_t rank, unsigned zero_bits, std::uint32_t *keys) const {
        start(begin_search(0, UINT32_MAX, zero_bits, rank));
        // What lies past the last scalar is never selected.
        check(cudaMemsetAsync(keys, 0, sample.size() * sizeof *keys, device_.stream), "select_top");
        for_each_tensors([&](const Tensors &batch, unsigned) {
            launch(device_, "select_top", {.blocks = count_blocks(device_, sample.size(), block_threads)}, sample_keys,
                   batch, sample, keys);
        });
        find_key(keys, sample.size());
        launch(device_, "select_top", {.blocks = 1, .threads = warp_threads}, set_bound, scratch_.control);
    }

    // The tensors of one formula and type go together. Where a tile's survivors lie hangs on the order in which blocks
    // run, and what becomes of them does not.
    void collect_survivors(const BracketScratch &more) const {
        std::vector<ScoredTensor> rest = tensors_, alike, others;
        while (!rest.empty()) {
            const speft_score kind = rest.front().score;
            alike.clear();
            others.clear();
            for (const ScoredTensor &tensor : rest) (is_alike(tensor.score, kind) ? alike : others).push_back(tensor);
            visit_octet(kind, [&]<class Eight>(Eight) {
                for_each_batch(alike.data(), alike.size(), tile_size,
                               [](const ScoredTensor &tensor) { return tensor.score.count; },
                               [&](const Tensors &batch, unsigned blocks) {
                                   launch(device_, "select_top", {.blocks = blocks}, collect<Eight>, batch,
                                          more.survivors, more.runs, scratch_.control);
                               });
            });
            rest.swap(others);
        }
    }

    // From what each tile has to what those before it have.
    void place_tiles() const {
        check(cudaMemsetAsync(scratch_.tiles + tile_count_, 0, sizeof(KeysBefore), device_.stream), "select_top");
        static_assert(sizeof(KeysBefore) == 2 * sizeof(std::uint64_t));
        sum_before<2>(device_, "select_top", &scratch_.tiles->above, tile_count_ + 1, scratch_.group_sums);
    }

    void read_counts() const {
        for_each_tensors([&](const Tensors &batch, unsigned blocks) {
            launch(device_, "select_top", {.blocks = blocks, .threads = warp_threads}, count_tensors, batch,
                   scratch_.control, scratch_.tiles, scratch_.counts);
        });
        read(device_, arguments_.counts, scratch_.counts, arguments_.tensors * sizeof *scratch_.counts);
    }

    // In passes over the data. Nothing is reported once indices are being written.
    void report() {
        ++done_;
        const speft_progress *progress = arguments_.progress;
        if (!progress) return;
        wait(device_);
        if (progress->report(progress->user, done_, planned_) != 0)
            throw Failure(SPEFT_CANCELLED, "the selection was cancelled by the progress callback");
    }

    const speft_backend_device &device_;
    const speft_select_top &arguments_;
    const std::uint64_t tile_count_;
    const TopScratch scratch_;
    std::vector<ScoredTensor> tensors_;
    std::uint64_t total_ = 0;
    std::int64_t done_ = 0;
    std::int64_t planned_ = 0;  // more when a bound was no good
};

// ---- rows ----

// The first row with too few numbers, and how many it has: the least of these.
constexpr Counter no_short_row = UINT64_MAX;

SPEFT_HOST_DEVICE constexpr Counter pack_short_row(std::uint64_t row, std::uint64_t eligible) {
    return row << 32 | eligible;
}

struct Rows {
    speft_score score;
    std::uint64_t columns;
    std::uint64_t k;
    std::uint32_t *indices;
    Counter *short_row;
};

constexpr std::uint64_t longest_short_row = 1024;

// A warp for each row, whose keys are in shared memory.
__global__ void select_short_rows(const __grid_constant__ Rows rows, std::uint64_t begin, std::uint64_t end) {
    __shared__ std::uint32_t all_keys[block_warps][longest_short_row];
    std::uint32_t *const keys = all_keys[warp()];
    const auto columns = static_cast<std::uint32_t>(rows.columns);
    const std::uint32_t padded = (columns + warp_threads - 1) / warp_threads * warp_threads;
    const std::uint32_t earlier = (1u << lane()) - 1;
    const auto count = [&](std::uint32_t least) {
        std::uint32_t found = 0;
        for (std::uint32_t column = lane(); column < padded; column += warp_threads)
            found += __popc(__ballot_sync(full_warp, keys[column] >= least));
        return found;
    };
    for (std::uint64_t row = begin + warp_task(); row < end; row += std::uint64_t{gridDim.x} * block_warps) {
        const std::uint64_t first = row * columns;
        visit_scalar(rows.score.weights_type, [&](auto scalar) {
            KeyWalk<decltype(scalar)> walk(rows.score, first + lane(), warp_threads);
            for (std::uint32_t column = lane(); column < padded; column += warp_threads) {
                keys[column] = column < columns ? walk.key() : 0;
                walk.advance();
            }
        });
        __syncwarp();
        const ExcludedRange excluded = find_excluded(rows.score, first, first + columns);
        for (std::uint64_t place = excluded.begin + lane(); place < excluded.end; place += warp_threads)
            keys[rows.score.excluded[place] - first] = 0;
        __syncwarp();

        const std::uint32_t eligible = count(1);
        if (eligible < rows.k) {
            if (lane() == 0) atomicMin(rows.short_row, pack_short_row(row, eligible));
        } else {
            std::uint32_t threshold = 0;
            for (std::uint32_t bit = 1u << 31; bit != 0; bit >>= 1) {
                const std::uint32_t found = count(threshold | bit);
                if (found < rows.k) continue;
                threshold |= bit;
                if (found == rows.k) break;
            }
            std::uint32_t ties = static_cast<std::uint32_t>(rows.k) - count(threshold + 1);
            std::uint32_t *indices = rows.indices + row * rows.k;
            for (std::uint32_t column = lane(); column < padded; column += warp_threads) {
                const std::uint32_t key = keys[column];
                const std::uint32_t equal = __ballot_sync(full_warp, key == threshold);
                const auto rank = static_cast<std::uint32_t>(__popc(equal & earlier));
                const bool taken = key > threshold || (key == threshold && rank < ties);
                const std::uint32_t all = __ballot_sync(full_warp, taken);
                if (taken) indices[__popc(all & earlier)] = static_cast<std::uint32_t>(first + column);
                indices += __popc(all);
                ties -= min(ties, static_cast<std::uint32_t>(__popc(equal)));
            }
        }
        __syncwarp();  // before the next row's keys
    }
}

// A block for each row.
__global__ void select_long_rows(const __grid_constant__ Rows rows, std::uint64_t begin, std::uint64_t end) {
    __shared__ std::uint32_t bins[digit_bins], above[tile_words], equal[tile_words];
    __shared__ KeySearch shared_search;
    const std::uint64_t tiles = count_tiles(rows.columns);
    clear_bins(bins);
    for (std::uint64_t row = begin + blockIdx.x; row < end; row += gridDim.x) {
        const std::uint64_t first = row * rows.columns, last = first + rows.columns;
        if (threadIdx.x == 0) shared_search = begin_search(0, UINT32_MAX, 0, rows.k);
        __syncthreads();
        bool enough = true;
        for (KeySearch search = shared_search; enough && !search.is_done(); search = shared_search) {
            for (std::uint64_t tile = 0; tile < tiles; ++tile)
                visit_keys(rows.score, make_tile(first, last, tile),
                           [&](std::uint32_t, std::uint32_t key) { count_key(bins, search, key); });
            __syncthreads();
            const std::uint64_t total = take_digit(bins, &shared_search);
            if (search.unknown_bits < 32 || total >= rows.k) continue;
            if (threadIdx.x == 0) atomicMin(rows.short_row, pack_short_row(row, total));
            enough = false;
        }
        if (enough) {
            std::uint64_t ties = shared_search.remaining;
            std::uint32_t *indices = rows.indices + row * rows.k;
            for (std::uint64_t index = 0; index < tiles; ++index) {
                const Tile tile = make_tile(first, last, index);
                mark_keys(rows.score, tile, shared_search.key(), above, equal);
                const KeysBefore found = write_marked(tile, above, equal, ties, indices);
                indices += count_selected(found, ties);
                ties = count_ties_left(found, ties);
                __syncthreads();
            }
        }
        __syncthreads();
    }
}

}  // namespace

std::uint64_t select_top_scratch(const speft_backend_device &, const speft_select_top &arguments) {
    Scratch scratch(nullptr);
    TopScratch(scratch, sum_tiles(arguments), arguments.tensors);
    return scratch.bytes();
}

void select_top(speft_backend_device &device, const speft_select_top &arguments, void *memory) {
    Scratch scratch(memory);
    TopSelection(device, arguments, scratch).select_by_radix();
}

const char *refuse_to_bracket(const speft_select_top &arguments) {
    return arguments.k > 0 && arguments.k <= sum_counts(arguments) / 8 ? nullptr
                                                                       : "it selects none, or more than one of eight";
}

std::uint64_t select_top_bracketed_scratch(const speft_backend_device &, const speft_select_top &arguments) {
    const std::uint64_t total = sum_counts(arguments);
    const ScoreSample sample(total, most_sample_lines);
    const ScoreBracket bracket(arguments.scores, arguments.tensors, total, arguments.k, sample);
    Scratch scratch(nullptr);
    TopScratch(scratch, sum_tiles(arguments), arguments.tensors);
    BracketScratch(scratch, sample, bracket, sum_tiles(arguments));
    return scratch.bytes();
}

void select_top_bracketed(speft_backend_device &device, const speft_select_top &arguments, void *memory) {
    const std::uint64_t total = sum_counts(arguments);
    const ScoreSample sample(total, most_sample_lines);
    const ScoreBracket bracket(arguments.scores, arguments.tensors, total, arguments.k, sample);
    Scratch scratch(memory);
    TopSelection selection(device, arguments, scratch);
    const BracketScratch more(scratch, sample, bracket, sum_tiles(arguments));
    selection.select_bracketed(sample, bracket, more);
}

std::uint64_t select_rows_scratch(const speft_backend_device &, const speft_select_rows &) { return sizeof(Counter); }

void select_rows(speft_backend_device &device, const speft_select_rows &arguments, void *scratch) {
    *arguments.short_row = arguments.rows;
    *arguments.eligible = 0;
    if (arguments.rows == 0 || arguments.k == 0) return;  // a search for no key would not end
    const std::uint64_t columns = arguments.score.count / arguments.rows;
    const Rows rows{arguments.score, columns, arguments.k, arguments.indices, static_cast<Counter *>(scratch)};
    check(cudaMemsetAsync(scratch, 0xff, sizeof no_short_row, device.stream), "select_rows");
    const speft_progress *const progress = arguments.progress;
    const std::uint64_t rows_a_report = progress ? 16384 : arguments.rows;
    for (std::uint64_t begin = 0; begin < arguments.rows; begin += rows_a_report) {
        const std::uint64_t end = std::min(begin + rows_a_report, arguments.rows);
        if (columns <= longest_short_row)
            launch(device, "select_rows", {.blocks = count_blocks(device, end - begin, block_warps)},
                   select_short_rows, rows, begin, end);
        else
            launch(device, "select_rows", {.blocks = count_blocks(device, end - begin)}, select_long_rows, rows, begin,
                   end);
        Counter short_row;
        read(device, &short_row, scratch, sizeof short_row);
        if (short_row != no_short_row) {
            *arguments.short_row = short_row >> 32;
            *arguments.eligible = short_row & UINT32_MAX;
            return;
        }
        if (progress && progress->report(progress->user, static_cast<std::int64_t>(end),
                                         static_cast<std::int64_t>(arguments.rows)) != 0)
            throw Failure(SPEFT_CANCELLED, "the selection was cancelled by the progress callback");
    }
}

}  // namespace speft::cuda
