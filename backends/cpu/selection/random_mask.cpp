// Random masks on vectors. Exactly k: the images of [0, k) are shared out to buckets by their highest bits, and each
// bucket is sorted in the cache. By probability: one pass draws and keeps what it drew, a second puts it in order.
#include <atomic>
#include <bit>
#include <numeric>
#include <span>

#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/reference/radix_sort.h"
#include "backends/cpu/selection/random_kernels.h"
#include "core/base/random.h"
#include "core/base/status.h"

namespace speft::cpu {
namespace {

bool draws_exactly(const speft_select_random &arguments) { return arguments.threshold == 0; }

unsigned count_bits(std::uint64_t size) { return static_cast<unsigned>(std::bit_width(size - 1)); }

// ---- exactly k ----

// A Permutation of [0, size), many indices at a time.
class VectorPermutation {
public:
    VectorPermutation(const RandomKernels &kernels, std::uint64_t key, std::uint64_t size)
        : kernels_(kernels), size_(size), network_(make_feistel_network(key, size)) {}

    // The images of [begin, end), in an order of its own. What lands outside [0, size) walks on in the next pass
    // together: vectors stay full, and no branch hangs on a single index.
    void draw(std::uint64_t begin, std::uint64_t end, std::uint32_t *images) const {
        constexpr std::uint64_t block = 2048;
        static_assert(block % random_step == 0);
        std::uint32_t values[block];
        for (std::uint64_t first = begin; first < end; first += block) {
            std::uint64_t walking = std::min(block, end - first);
            std::iota(values, values + walking, static_cast<std::uint32_t>(first));
            while (walking > 0) {
                const std::uint64_t padded = (walking + random_step - 1) / random_step * random_step;
                std::fill(values + walking, values + padded, 0u);
                kernels_.permute(network_, values, padded);
                std::uint64_t outside = 0;
                for (std::uint64_t i = 0; i < walking; ++i) {
                    const std::uint32_t value = values[i];
                    *images = value;
                    images += value < size_;
                    values[outside] = value;
                    outside += value >= size_;
                }
                walking = outside;
            }
        }
    }

private:
    const RandomKernels &kernels_;
    std::uint64_t size_;
    FeistelNetwork network_;
};

// Rows are tasks of their own.
void draw_rows(const speft_backend_device &device, const speft_select_random &arguments,
               const RandomKernels &kernels, std::uint32_t *scratch) {
    parallel_for(device, static_cast<std::int64_t>(arguments.rows), [&](std::int64_t task) {
        const auto row = static_cast<std::uint64_t>(task);
        const std::span indices(arguments.indices + row * arguments.k, arguments.k);
        VectorPermutation(kernels, draw64(arguments.key, row), arguments.size).draw(0, arguments.k, indices.data());
        radix_sort(indices, {scratch + row * arguments.k, arguments.k}, count_bits(arguments.size));
        for (std::uint32_t &index : indices) index += static_cast<std::uint32_t>(row * arguments.size);
    });
}

// How the images of [0, k) are cut into pieces, and their range into buckets that caches hold.
struct Buckets {
    std::uint64_t piece_size;
    std::uint64_t pieces;
    unsigned bits;

    explicit Buckets(std::uint64_t k) {
        constexpr std::uint64_t images_a_bucket = 16384, most_buckets = 2048, most_pieces = 256;
        piece_size = std::max(images_a_bucket, (k + most_pieces - 1) / most_pieces);
        pieces = (k + piece_size - 1) / piece_size;
        bits = count_bits(std::clamp<std::uint64_t>(k / images_a_bucket, 1, most_buckets));
    }

    std::uint64_t count() const { return std::uint64_t{1} << bits; }
};

// `images` and `places`: scratch for k images, and for a place a piece and bucket.
void draw_exact(const speft_backend_device &device, const speft_select_random &arguments,
                const RandomKernels &kernels, std::uint64_t *places, std::uint32_t *images) {
    const Buckets buckets(arguments.k);
    const unsigned low_bits = count_bits(arguments.size) - buckets.bits;
    const auto bucket_of = [=](std::uint32_t image) { return std::uint64_t{image} >> low_bits; };
    const VectorPermutation permute(kernels, arguments.key, arguments.size);
    const Pieces pieces(buckets.piece_size, arguments.k);
    const std::uint64_t bucket_count = buckets.count();

    // places[piece][bucket]: how many images, and then where the next one goes.
    std::fill_n(places, buckets.pieces * bucket_count, 0);
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t index) {
        permute.draw(piece.begin, piece.end, images + piece.begin);
        std::uint64_t *const counts = places + static_cast<std::uint64_t>(index) * bucket_count;
        for (std::uint64_t j = piece.begin; j < piece.end; ++j) ++counts[bucket_of(images[j])];
    });
    std::uint64_t place = 0;
    for (std::uint64_t bucket = 0; bucket < bucket_count; ++bucket)
        for (std::uint64_t piece = 0; piece < buckets.pieces; ++piece)
            place += std::exchange(places[piece * bucket_count + bucket], place);
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t index) {
        std::uint64_t *const next = places + static_cast<std::uint64_t>(index) * bucket_count;
        for (std::uint64_t j = piece.begin; j < piece.end; ++j)
            arguments.indices[next[bucket_of(images[j])]++] = images[j];
    });
    // The last piece's places are now the ends of the buckets.
    const std::uint64_t *const ends = places + (buckets.pieces - 1) * bucket_count;
    parallel_for(device, static_cast<std::int64_t>(bucket_count), [&](std::int64_t bucket) {
        const std::uint64_t begin = bucket > 0 ? ends[bucket - 1] : 0, count = ends[bucket] - begin;
        radix_sort({arguments.indices + begin, count}, {images + begin, count}, low_bits);
    });
}

// ---- by probability ----

// What one run of counters drew.
struct Run {
    std::uint64_t first;  // where it was kept as it came
    std::uint64_t count;
    std::uint64_t place;  // where it goes
};

class Bernoulli {
public:
    Bernoulli(const speft_backend_device &device, const speft_select_random &arguments, const RandomKernels &kernels,
              Run *runs, std::uint32_t *drawn)
        : device_(device), arguments_(arguments), kernels_(kernels), pieces_(longest_run, arguments.size),
          runs_(runs), drawn_(drawn) {}

    void run() {
        for_each_piece(device_, pieces_, [&](Piece piece, std::int64_t index) { draw(piece, runs_[index]); });
        const std::uint64_t count = reserved_.load();
        *arguments_.count = count;
        if (!arguments_.indices) return;
        if (count > arguments_.k)
            refuse("indices has room for " + std::to_string(arguments_.k) + " of " + std::to_string(count) +
                   " drawn");
        put_in_order();
    }

private:
    void draw(Piece piece, Run &run) {
        Offsets offsets;
        const auto size = static_cast<std::uint32_t>(piece.end - piece.begin);
        const std::uint32_t whole = size - size % run_step;
        std::uint32_t count = kernels_.draw(arguments_.key, arguments_.threshold, piece.begin, whole, offsets);
        for (std::uint32_t offset = whole; offset < size; ++offset)
            if (draw64(arguments_.key, piece.begin + offset) < arguments_.threshold)
                offsets[count++] = static_cast<std::uint16_t>(offset);
        run = {.first = reserved_.fetch_add(count, std::memory_order_relaxed), .count = count, .place = 0};
        if (!arguments_.indices || run.first + count > arguments_.k) return;
        for (std::uint32_t i = 0; i < count; ++i)
            drawn_[run.first + i] = static_cast<std::uint32_t>(piece.begin + offsets[i]);
    }

    void put_in_order() {
        std::uint64_t place = 0;
        for (Run &run : std::span(runs_, static_cast<std::uint64_t>(pieces_.count()))) {
            run.place = place;
            place += run.count;
        }
        for_each_piece(device_, pieces_, [&](Piece, std::int64_t index) {
            const Run &run = runs_[index];
            std::copy_n(drawn_ + run.first, run.count, arguments_.indices + run.place);
        });
    }

    const speft_backend_device &device_;
    const speft_select_random &arguments_;
    const RandomKernels &kernels_;
    const Pieces pieces_;
    Run *const runs_;
    std::uint32_t *const drawn_;
    std::atomic<std::uint64_t> reserved_{0};
};

// ---- the scratch: what is counted per piece, then k indices ----

std::uint64_t table_bytes(const speft_select_random &arguments) {
    if (!draws_exactly(arguments)) return (arguments.size + longest_run - 1) / longest_run * sizeof(Run);
    if (arguments.rows > 1) return 0;
    const Buckets buckets(arguments.k);
    return buckets.pieces * buckets.count() * sizeof(std::uint64_t);
}

}  // namespace

std::uint64_t select_random_vectors_scratch(const speft_backend_device &, const speft_select_random &arguments) {
    return table_bytes(arguments) + arguments.rows * arguments.k * sizeof(std::uint32_t);
}

void select_random_vectors(const speft_backend_device &device, const speft_select_random &arguments, void *scratch,
                           const RandomKernels &kernels) {
    auto *const indices =
        reinterpret_cast<std::uint32_t *>(static_cast<unsigned char *>(scratch) + table_bytes(arguments));
    if (!draws_exactly(arguments)) {
        Bernoulli(device, arguments, kernels, static_cast<Run *>(scratch), indices).run();
        return;
    }
    *arguments.count = arguments.rows * arguments.k;
    if (*arguments.count == 0 || !arguments.indices) return;
    if (arguments.rows > 1)
        draw_rows(device, arguments, kernels, indices);
    else
        draw_exact(device, arguments, kernels, static_cast<std::uint64_t *>(scratch), indices);
}

}  // namespace speft::cpu
