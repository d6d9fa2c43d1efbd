// The operations on segments that move no delta: capture, merge, unmerge, measure_rounding. One launch takes all
// segments. A thread handles several scalars, a block's threads apart: a warp's loads lie side by side wherever the
// arrays begin, and all of a thread's weights are on their way before the first one is used.
#include <algorithm>
#include <cmath>
#include <vector>

#include "backends/cuda/kernels/block.h"
#include "backends/cuda/kernels/grouped.h"
#include "backends/cuda/kernels/segment.h"
#include "backends/cuda/operations.h"
#include "core/base/merge_rules.h"

namespace speft::cuda {
namespace {

constexpr unsigned per_thread = 8;
constexpr std::uint64_t per_block = block_threads * per_thread;

std::uint64_t length(const speft_segment &segment) { return segment.count; }

template <class Launch>
void for_each_segments(const speft_segment *segments, std::uint64_t count, Launch &&launch_batch) {
    for_each_batch(segments, count, per_block, length, launch_batch);
}

std::uint64_t count_segment_blocks(const speft_segment *segments, std::uint64_t count) {
    return count_group_blocks(segments, count, per_block, length);
}

// The scalars of a thread, of which those that are `live` are there: at the end of a segment not all of them. Loads
// take the last one of the segment instead, for a condition on each would put one after the other. A parameter has
// fewer than 2^32 scalars, and blocks begin at multiples of a power of two: no sum here passes 2^32.
class Own {
public:
    __device__ Own(std::uint64_t block, std::uint64_t count)
        : first_(static_cast<std::uint32_t>(block * per_block) + threadIdx.x),
          last_(static_cast<std::uint32_t>(count - 1)) {}

    __device__ std::uint32_t at(unsigned i) const { return first_ + i * block_threads; }
    __device__ bool live(unsigned i) const { return at(i) <= last_; }
    __device__ std::uint32_t to_load(unsigned i) const { return min(at(i), last_); }

private:
    std::uint32_t first_;
    std::uint32_t last_;
};

template <class Segment>
__device__ void load_places(const Segment &segment, const Own &own, std::uint32_t (&places)[per_thread]) {
    for (unsigned i = 0; i < per_thread; ++i) places[i] = own.to_load(i);
    if (!segment.is_scattered()) return;
    for (unsigned i = 0; i < per_thread; ++i) places[i] = static_cast<std::uint32_t>(segment.place(places[i]));
}

// ---- capture ----

__global__ void capture_weights(const __grid_constant__ Batch<speft_segment> batch) {
    const BlockTask task = find_task(batch, blockIdx.x);
    const speft_segment &described = batch.items[task.item];
    visit_segment(described, [&](auto segment) {
        const Own own(task.block, described.count);
        std::uint32_t places[per_thread];
        load_places(segment, own, places);
        typename decltype(segment)::Scalar weights[per_thread];
        for (unsigned i = 0; i < per_thread; ++i) weights[i] = segment.weight_at(places[i]);
        for (unsigned i = 0; i < per_thread; ++i)
            if (own.live(i)) segment.original(own.at(i)) = weights[i];
    });
}

// ---- merge and unmerge ----

// Which of its weights a thread has written, a bit each, for the case that all has to be put back.
using Written = std::uint8_t;
static_assert(per_thread == 8);

__device__ std::uint64_t place_of_written(const Batch<speft_segment> &batch) {
    return (batch.blocks_before + blockIdx.x) * block_threads + threadIdx.x;
}

template <class Rule>
__global__ void exchange_weights(const __grid_constant__ Batch<speft_segment> batch, Written *written,
                                 unsigned long long *differing) {
    const BlockTask task = find_task(batch, blockIdx.x);
    const speft_segment &described = batch.items[task.item];
    visit_segment(described, [&](auto segment) {
        using Scalar = typename decltype(segment)::Scalar;
        const Own own(task.block, described.count);
        std::uint32_t places[per_thread];
        load_places(segment, own, places);
        Scalar weights[per_thread], originals[per_thread];
        float deltas[per_thread];
        for (unsigned i = 0; i < per_thread; ++i) weights[i] = segment.weight_at(places[i]);
        for (unsigned i = 0; i < per_thread; ++i) originals[i] = segment.original(own.to_load(i));
        for (unsigned i = 0; i < per_thread; ++i) deltas[i] = segment.delta(own.to_load(i));
        unsigned bits = 0, differ = 0;
        for (unsigned i = 0; i < per_thread; ++i) {
            const Scalar merged = segment.merged(originals[i], deltas[i]);
            const Found found =
                own.live(i) ? Rule::find(weights[i], originals[i], [&] { return merged; }) : Found::keep;
            if (found == Found::replace) segment.weight_at(places[i]) = Rule::write(originals[i], merged);
            bits |= static_cast<unsigned>(found == Found::replace) << i;
            differ += found == Found::differs;
        }
        written[place_of_written(batch)] = static_cast<Written>(bits);
        if (differ > 0)  // seldom, and integers: in whatever order
            atomicAdd(differing + batch.first + task.item, static_cast<unsigned long long>(differ));
    });
}

template <class Rule>
__global__ void put_weights_back(const __grid_constant__ Batch<speft_segment> batch, const Written *written) {
    const BlockTask task = find_task(batch, blockIdx.x);
    const speft_segment &described = batch.items[task.item];
    visit_segment(described, [&](auto segment) {
        const Own own(task.block, described.count);
        const unsigned bits = written[place_of_written(batch)];
        for (unsigned i = 0; i < per_thread; ++i) {
            if ((bits >> i & 1) == 0) continue;
            const std::uint32_t j = own.at(i);
            segment.weight(j) = Rule::put_back(segment.original(j), segment.merged(j));
        }
    });
}

// Before the bits: how many weights of each segment differ.
std::uint64_t exchange_scratch(const speft_segment *segments, std::uint64_t count) {
    return count * sizeof(std::uint64_t) + count_segment_blocks(segments, count) * block_threads * sizeof(Written);
}

template <class Rule>
void exchange(const speft_backend_device &device, const char *name, const speft_segment *segments, std::uint64_t count,
              std::uint64_t *differing, void *scratch) {
    if (count == 0) return;
    static_assert(sizeof(unsigned long long) == sizeof(std::uint64_t));
    auto *const counters = static_cast<unsigned long long *>(scratch);
    auto *const written = reinterpret_cast<Written *>(counters + count);
    check(cudaMemsetAsync(counters, 0, count * sizeof *counters, device.stream), name);
    for_each_segments(segments, count, [&](const Batch<speft_segment> &batch, unsigned blocks) {
        launch(device, name, {.blocks = blocks}, exchange_weights<Rule>, batch, written, counters);
    });
    read(device, differing, counters, count * sizeof *differing);
    if (std::all_of(differing, differing + count, [](std::uint64_t number) { return number == 0; })) return;
    for_each_segments(segments, count, [&](const Batch<speft_segment> &batch, unsigned blocks) {
        launch(device, name, {.blocks = blocks}, put_weights_back<Rule>, batch, written);
    });
}

// ---- measure_rounding ----

struct RoundingSums {
    double total;
    double lost;
};

// partial[block] = what the block's scalars add to.
__global__ void measure_block_rounding(const __grid_constant__ Batch<speft_segment> batch, RoundingSums *partial) {
    const BlockTask task = find_task(batch, blockIdx.x);
    const speft_segment &described = batch.items[task.item];
    double total = 0, lost = 0;
    visit_segment(described, [&](auto segment) {
        using Scalar = typename decltype(segment)::Scalar;
        const Own own(task.block, described.count);
        Scalar originals[per_thread];
        float deltas[per_thread];
        for (unsigned i = 0; i < per_thread; ++i) originals[i] = segment.original(own.to_load(i));
        for (unsigned i = 0; i < per_thread; ++i) deltas[i] = segment.delta(own.to_load(i));
        for (unsigned i = 0; i < per_thread && own.live(i); ++i) {
            const double delta = deltas[i];
            const double moved = static_cast<double>(to_float(segment.merged(originals[i], deltas[i]))) -
                                 static_cast<double>(to_float(originals[i]));
            total += fabs(delta);
            lost += fabs(delta - moved);
        }
    });
    total = block_sum(total);
    lost = block_sum(lost);
    if (threadIdx.x == 0) partial[batch.blocks_before + blockIdx.x] = {total, lost};
}

// Block s adds up segment s of the batch.
__global__ void sum_segment_rounding(const __grid_constant__ Batch<speft_segment> batch, const RoundingSums *partial,
                                     RoundingSums *sums) {
    const RoundingSums *const own = partial + batch.blocks_before;
    double total = 0, lost = 0;
    for (std::uint32_t i = batch.first_block[blockIdx.x] + threadIdx.x; i < batch.first_block[blockIdx.x + 1];
         i += blockDim.x) {
        total += own[i].total;
        lost += own[i].lost;
    }
    total = block_sum(total);
    lost = block_sum(lost);
    if (threadIdx.x == 0) sums[batch.first + blockIdx.x] = {total, lost};
}

}  // namespace

void capture(speft_backend_device &device, const speft_capture &arguments, void *) {
    for_each_segments(arguments.segments, arguments.count, [&](const Batch<speft_segment> &batch, unsigned blocks) {
        launch(device, "capture", {.blocks = blocks}, capture_weights, batch);
    });
}

void merge(speft_backend_device &device, const speft_merge_segments &arguments, void *scratch) {
    exchange<MergeRule>(device, "merge", arguments.segments, arguments.count, arguments.differing, scratch);
}

std::uint64_t merge_scratch(const speft_backend_device &, const speft_merge_segments &arguments) {
    return exchange_scratch(arguments.segments, arguments.count);
}

void unmerge(speft_backend_device &device, const speft_unmerge_segments &arguments, void *scratch) {
    exchange<UnmergeRule>(device, "unmerge", arguments.segments, arguments.count, arguments.differing, scratch);
}

std::uint64_t unmerge_scratch(const speft_backend_device &, const speft_unmerge_segments &arguments) {
    return exchange_scratch(arguments.segments, arguments.count);
}

std::uint64_t measure_rounding_scratch(const speft_backend_device &, const speft_measure_rounding &arguments) {
    return (arguments.count + count_segment_blocks(arguments.segments, arguments.count)) * sizeof(RoundingSums);
}

void measure_rounding(speft_backend_device &device, const speft_measure_rounding &arguments, void *scratch) {
    if (arguments.count == 0) return;
    auto *const sums = static_cast<RoundingSums *>(scratch), *const partial = sums + arguments.count;
    const std::uint64_t bytes = arguments.count * sizeof(RoundingSums);
    check(cudaMemsetAsync(sums, 0, bytes, device.stream), "measure_rounding");  // of empty segments
    for_each_segments(arguments.segments, arguments.count, [&](const Batch<speft_segment> &batch, unsigned blocks) {
        launch(device, "measure_rounding", {.blocks = blocks}, measure_block_rounding, batch, partial);
        launch(device, "measure_rounding", {.blocks = batch.count}, sum_segment_rounding, batch, partial, sums);
    });
    std::vector<RoundingSums> found(arguments.count);
    read(device, found.data(), sums, bytes);
    for (std::uint64_t s = 0; s < arguments.count; ++s) {
        arguments.total[s] = found[s].total;
        arguments.lost[s] = found[s].lost;
    }
}

}  // namespace speft::cuda
