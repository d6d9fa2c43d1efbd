// Random masks. Exactly k: the images of [0, k) are shared out to buckets by their highest bits, and each bucket is
// sorted in shared memory. By probability: one pass counts what each tile draws, a second draws again and writes.
#include "backends/cuda/kernels/block.h"
#include "backends/cuda/kernels/prefix_sums.h"
#include "backends/cuda/kernels/random_buckets.h"
#include "backends/cuda/kernels/scratch.h"
#include "backends/cuda/operations.h"
#include "core/base/random.h"
#include "core/base/status.h"

namespace speft::cuda {
namespace {

using Counter = unsigned long long;  // what atomics take

bool draws_exactly(const speft_select_random &arguments) { return arguments.threshold == 0; }

// ---- exactly k ----

constexpr std::uint64_t images_per_block = 8 * block_threads;

// images[r·k + j] = that of j in row r; counts those of each bucket.
__global__ void draw_images(std::uint64_t key, const RandomBuckets buckets, std::uint32_t *images, Counter *counts) {
    const std::uint64_t pieces = (buckets.k + images_per_block - 1) / images_per_block;
    for (std::uint64_t task = blockIdx.x; task < pieces * buckets.rows; task += gridDim.x) {
        const std::uint64_t row = task / pieces, begin = task % pieces * images_per_block;
        const std::uint64_t end = min(begin + images_per_block, buckets.k);
        const Permutation permute(buckets.rows > 1 ? draw64(key, row) : key, buckets.size);
        for (std::uint64_t j = begin + threadIdx.x; j < end; j += block_threads) {
            const std::uint32_t image = permute(static_cast<std::uint32_t>(j));
            images[row * buckets.k + j] = image;
            atomicAdd(&counts[buckets.find(row, image)], Counter{1});
        }
    }
}

// `next` is where each bucket's next image goes. Their order within it hangs on the order in which threads run, until
// they are sorted.
__global__ void share_out(const std::uint32_t *images, const RandomBuckets buckets, Counter *next,
                          std::uint32_t *shared_out) {
    for (std::uint64_t i = first_item(); i < buckets.rows * buckets.k; i += item_stride()) {
        const std::uint32_t image = images[i];
        shared_out[atomicAdd(&next[buckets.find(i / buckets.k, image)], Counter{1})] = image;
    }
}

// Sorts `values`, a power of two of them, in shared memory: Batcher's bitonic network.
__device__ inline void sort_shared(std::uint32_t *values, std::uint32_t count) {
    for (std::uint32_t run = 2; run <= count; run *= 2) {
        for (std::uint32_t distance = run / 2; distance > 0; distance /= 2) {
            for (std::uint32_t pair = threadIdx.x; pair < count / 2; pair += block_threads) {
                const std::uint32_t low = pair / distance * distance * 2 + pair % distance, high = low + distance;
                const bool rising = (low & run) == 0;
                const std::uint32_t a = values[low], b = values[high];
                if ((a > b) == rising) {
                    values[low] = b;
                    values[high] = a;
                }
            }
            __syncthreads();
        }
    }
}

// A block for each bucket. One that holds more than can be sorted at a time, which chance hardly ever gives, is sorted
// range by range; a range as wide as can be sorted always fits.
__global__ void sort_buckets(const std::uint32_t *images, const RandomBuckets buckets, const std::uint64_t *first,
                             std::uint32_t *indices) {
    __shared__ std::uint32_t values[RandomBuckets::capacity];
    __shared__ std::uint32_t listed;
    for (std::uint64_t bucket = blockIdx.x; bucket < buckets.count(); bucket += gridDim.x) {
        const std::uint64_t begin = first[bucket], end = first[bucket + 1];
        const auto offset = static_cast<std::uint32_t>(bucket / buckets.buckets * buckets.size);
        std::uint64_t place = begin;
        std::uint64_t low = buckets.begin_of(bucket);
        while (place < end) {
            std::uint64_t high = buckets.end_of(bucket);
            const auto count_below = [&] {
                std::uint64_t own = 0;
                for (std::uint64_t i = begin + threadIdx.x; i < end; i += block_threads)
                    own += images[i] >= low && images[i] < high;
                return block_sum(own);
            };
            auto count = place == begin ? end - begin : count_below();
            while (count > RandomBuckets::capacity) {
                high = low + (high - low) / 2;
                count = count_below();
            }
            std::uint32_t padded = 1;
            while (padded < count) padded *= 2;
            for (std::uint32_t i = threadIdx.x; i < padded; i += block_threads) values[i] = UINT32_MAX;
            if (threadIdx.x == 0) listed = 0;
            __syncthreads();
            for (std::uint64_t i = begin + threadIdx.x; i < end; i += block_threads)
                if (images[i] >= low && images[i] < high) values[atomicAdd(&listed, 1u)] = images[i];
            __syncthreads();
            sort_shared(values, padded);
            for (std::uint32_t i = threadIdx.x; i < count; i += block_threads) indices[place + i] = offset + values[i];
            __syncthreads();
            place += count;
            low = high;
        }
    }
}

// ---- by probability ----

constexpr std::uint64_t draws_per_block = 16384;
constexpr std::uint32_t draw_words = draws_per_block / 32;
constexpr std::uint32_t words_per_thread = draw_words / block_threads;

struct Draws {
    std::uint64_t key;
    std::uint64_t threshold;
    std::uint64_t size;

    __device__ bool draw(std::uint64_t index) const { return index < size && draw64(key, index) < threshold; }
};

__global__ void count_drawn(const Draws draws, std::uint64_t *counts) {
    const std::uint64_t begin = blockIdx.x * draws_per_block;
    std::uint32_t own = 0;
    for (std::uint64_t i = begin + threadIdx.x; i < begin + draws_per_block; i += block_threads) own += draws.draw(i);
    own = block_sum(own);
    if (threadIdx.x == 0) counts[blockIdx.x] = own;
}

__global__ void write_drawn(const Draws draws, const std::uint64_t *first, std::uint32_t *indices) {
    __shared__ std::uint32_t bits[draw_words];
    const std::uint64_t begin = blockIdx.x * draws_per_block;
    for (std::uint32_t offset = threadIdx.x; offset < draws_per_block; offset += block_threads) {
        const std::uint32_t drawn = __ballot_sync(full_warp, draws.draw(begin + offset));
        if (lane() == 0) bits[offset / 32] = drawn;
    }
    __syncthreads();
    const std::uint32_t own = threadIdx.x * words_per_thread;
    std::uint32_t count = 0, total;
    for (std::uint32_t word = own; word < own + words_per_thread; ++word) count += __popc(bits[word]);
    std::uint64_t place = first[blockIdx.x] + block_sum_before(count, total);
    for (std::uint32_t word = own; word < own + words_per_thread; ++word)
        for (std::uint32_t left = bits[word]; left != 0; left &= left - 1)
            indices[place++] = static_cast<std::uint32_t>(begin) + word * 32 + __ffs(static_cast<int>(left)) - 1;
}

// ---- the host's side ----

std::uint64_t count_tables(const speft_select_random &arguments) {
    return draws_exactly(arguments) ? RandomBuckets(arguments.size, arguments.rows, arguments.k).count()
                                    : (arguments.size + draws_per_block - 1) / draws_per_block;
}

struct RandomScratch {
    std::uint64_t *first;  // of each bucket or tile, and past the last
    std::uint64_t *group_sums;
    std::uint64_t *next = nullptr;
    std::uint32_t *images = nullptr;

    RandomScratch(Scratch &scratch, const speft_select_random &arguments)
        : first(scratch.take<std::uint64_t>(count_tables(arguments) + 1)),
          group_sums(scratch.take<std::uint64_t>(count_group_sums(count_tables(arguments) + 1, 1))) {
        if (!draws_exactly(arguments)) return;
        next = scratch.take<std::uint64_t>(count_tables(arguments));
        images = scratch.take<std::uint32_t>(arguments.rows * arguments.k);
    }
};

void draw_exact(const speft_backend_device &device, const speft_select_random &arguments,
                const RandomScratch &scratch) {
    constexpr const char *name = "select_random";
    *arguments.count = arguments.rows * arguments.k;
    if (*arguments.count == 0 || !arguments.indices) return;
    const RandomBuckets buckets(arguments.size, arguments.rows, arguments.k);
    const std::uint64_t count = buckets.count();
    check(cudaMemsetAsync(scratch.first, 0, (count + 1) * sizeof *scratch.first, device.stream), name);
    const std::uint64_t pieces = (arguments.k + images_per_block - 1) / images_per_block;
    static_assert(sizeof(Counter) == sizeof(std::uint64_t));
    launch(device, name, {.blocks = count_blocks(device, pieces * arguments.rows)}, draw_images, arguments.key, buckets,
           arguments.indices, reinterpret_cast<Counter *>(scratch.first));
    sum_before<1>(device, name, scratch.first, count + 1, scratch.group_sums);
    check(cudaMemcpyAsync(scratch.next, scratch.first, count * sizeof *scratch.next, cudaMemcpyDeviceToDevice,
                          device.stream),
          name);
    launch(device, name, {.blocks = count_blocks(device, *arguments.count, images_per_block)}, share_out,
           arguments.indices, buckets, reinterpret_cast<Counter *>(scratch.next), scratch.images);
    launch(device, name, {.blocks = count_blocks(device, count)}, sort_buckets, scratch.images, buckets, scratch.first,
           arguments.indices);
}

void draw_bernoulli(const speft_backend_device &device, const speft_select_random &arguments,
                    const RandomScratch &scratch) {
    const Draws draws{arguments.key, arguments.threshold, arguments.size};
    const std::uint64_t tiles = count_tables(arguments);
    const Grid grid{.blocks = static_cast<unsigned>(tiles)};
    check(cudaMemsetAsync(scratch.first + tiles, 0, sizeof *scratch.first, device.stream), "select_random");
    launch(device, "select_random", grid, count_drawn, draws, scratch.first);
    sum_before<1>(device, "select_random", scratch.first, tiles + 1, scratch.group_sums);
    read(device, arguments.count, scratch.first + tiles, sizeof *arguments.count);
    if (!arguments.indices) return;
    if (*arguments.count > arguments.k)
        refuse("indices has room for " + std::to_string(arguments.k) + " of " + std::to_string(*arguments.count) +
               " drawn");
    launch(device, "select_random", grid, write_drawn, draws, scratch.first, arguments.indices);
}

}  // namespace

std::uint64_t select_random_scratch(const speft_backend_device &, const speft_select_random &arguments) {
    Scratch scratch(nullptr);
    RandomScratch(scratch, arguments);
    return scratch.bytes();
}

void select_random(speft_backend_device &device, const speft_select_random &arguments, void *memory) {
    Scratch scratch(memory);
    const RandomScratch parts(scratch, arguments);
    if (draws_exactly(arguments))
        draw_exact(device, arguments, parts);
    else
        draw_bernoulli(device, arguments, parts);
}

}  // namespace speft::cuda
