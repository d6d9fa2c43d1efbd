// The k largest of gradients that are never there as a whole: some rows of one at a time, by the kernels that add
// products everywhere and with the same sums, and of each the candidates for the k largest.
//
// Candidates are kept in the order of tensors and indices. When there might be no room for those of the next rows, the
// k best stay, ties to the earlier, and the least magnitude among them becomes the bound: whatever comes later has to
// be above it, since k earlier ones are at least as good. So what is left at the end is exact, whatever the scores are.
//
// Scratch: some rows of the widest weight, 16 MiB of them or 128 rows if that is more, or 8 bytes for each of k; and 8
// bytes for each candidate, of which there are at most k, a quarter, and as many as those rows have scalars.
#include <algorithm>
#include <limits>
#include <vector>

#include "backends/cuda/kernels/add_product.h"
#include "backends/cuda/kernels/block.h"
#include "backends/cuda/kernels/gradient_cost.h"
#include "backends/cuda/kernels/upload.h"
#include "backends/cuda/operations.h"
#include "core/base/status.h"

namespace speft::cuda {
namespace {

constexpr std::uint64_t rows_scalars = 4 << 20;

struct Matrix {
    std::uint64_t rows, columns;

    explicit Matrix(const speft_product_score &score) : rows(score.out), columns(score.in) {
        if (score.layout == SPEFT_LAYOUT_IN_OUT) std::swap(rows, columns);
    }

    std::uint64_t size() const { return rows * columns; }

    // Whole tiles, as far as they can be.
    std::uint64_t rows_at_once() const {
        const std::uint64_t fitting =
            rows_scalars / std::max<std::uint64_t>(columns, 1) / gradient_tile_side * gradient_tile_side;
        return std::min(std::max(fitting, gradient_tile_side), rows);
    }
};

// Magnitudes rank as their bits do; a NaN has no rank.
using Key = std::int32_t;
constexpr Key no_key = -1, infinity = 0x7f800000;

__device__ Key key_of(float score) {
    const auto magnitude = static_cast<Key>(__float_as_uint(score) & 0x7fffffffu);
    return magnitude > infinity ? no_key : magnitude;
}

// What stays: every key above `key`, and as many that equal it.
struct Threshold {
    Key key;
    std::int32_t reserved;
    std::uint64_t ties;
};

struct Candidates {
    Key *keys;
    std::uint32_t *indices;
};

// Two ways to look at what is filtered: scores as they are computed, and candidates.
struct Scores {
    static constexpr bool takes_ties = false;
    const float *values;
    std::uint64_t first;  // the index of the first one
    __device__ Key key(std::uint64_t i) const { return key_of(values[i]); }
    __device__ std::uint32_t index(std::uint64_t i) const { return static_cast<std::uint32_t>(first + i); }
    // What is counted beside the keys above the threshold: what can be selected.
    __device__ static bool is_other(Key key, Key) { return key != no_key; }
};

struct Kept {
    static constexpr bool takes_ties = true;
    Candidates candidates;
    __device__ Key key(std::uint64_t i) const { return candidates.keys[i]; }
    __device__ std::uint32_t index(std::uint64_t i) const { return candidates.indices[i]; }
    __device__ static bool is_other(Key key, Key threshold) { return key == threshold; }
};

// Of a piece of what is filtered, or of all pieces before one.
struct Counts {
    std::uint64_t above, others;
};

constexpr unsigned rounds = 16;  // a warp's, of one item a lane
constexpr std::uint64_t piece_size = block_threads * rounds;

// A lane's items of a piece; past the end there are no keys.
template <class Source>
__device__ void load_keys(const Source &source, std::uint64_t count, Key (&keys)[rounds]) {
    const std::uint64_t first = blockIdx.x * piece_size + warp() * (warp_threads * rounds) + lane();
#pragma unroll
    for (unsigned round = 0; round < rounds; ++round) {
        const std::uint64_t i = first + round * warp_threads;
        keys[round] = i < count ? source.key(i) : no_key;
    }
}

// Two counts of a block in one number.
__device__ std::uint64_t pack(bool above, bool other) { return std::uint64_t{above} << 32 | std::uint64_t{other}; }

template <class Source>
__global__ void count_keys(Source source, std::uint64_t count, const Threshold *threshold, Counts *counts) {
    const Key bound = threshold->key;
    Key keys[rounds];
    load_keys(source, count, keys);
    std::uint64_t found = 0;
#pragma unroll
    for (unsigned round = 0; round < rounds; ++round)
        found += pack(keys[round] > bound, Source::is_other(keys[round], bound));
    found = block_sum(found);
    if (threadIdx.x == 0) counts[blockIdx.x] = {found >> 32, found & 0xffffffffu};
}

// counts[i] becomes what is before piece i; counts[pieces] is all. One block.
__global__ void sum_counts(Counts *counts, std::uint64_t pieces) {
    const std::uint64_t share = (pieces + block_threads - 1) / block_threads;
    const std::uint64_t begin = min(threadIdx.x * share, pieces), end = min(begin + share, pieces);
    Counts own = {0, 0};
    for (std::uint64_t i = begin; i < end; ++i) own = {own.above + counts[i].above, own.others + counts[i].others};
    Counts all;
    Counts before = {block_sum_before(own.above, all.above), block_sum_before(own.others, all.others)};
    for (std::uint64_t i = begin; i < end; ++i) {
        const Counts piece = counts[i];
        counts[i] = before;
        before = {before.above + piece.above, before.others + piece.others};
    }
    if (threadIdx.x == 0) counts[pieces] = all;
}

// Writes what stays, in order.
template <class Source>
__global__ void keep(Source source, std::uint64_t count, const Threshold *threshold, const Counts *counts,
                     Candidates target) {
    const Threshold least = *threshold;
    const Counts before_block = counts[blockIdx.x];
    Key keys[rounds];
    load_keys(source, count, keys);
    std::uint64_t found = 0;
#pragma unroll
    for (unsigned round = 0; round < rounds; ++round)
        found += pack(keys[round] > least.key, Source::takes_ties && keys[round] == least.key);
    found = warp_sum(found);
    // What the warps before this one have: lane 0 counts for its warp.
    std::uint64_t all;
    std::uint64_t before = block_sum_before(lane() == 0 ? found : 0, all);
    before = __shfl_sync(full_warp, before, 0);
    std::uint64_t above = before_block.above + (before >> 32), ties = before_block.others + (before & 0xffffffffu);
    const unsigned earlier_lanes = (1u << lane()) - 1;
    const std::uint64_t first = blockIdx.x * piece_size + warp() * (warp_threads * rounds) + lane();
#pragma unroll
    for (unsigned round = 0; round < rounds; ++round) {
        const bool is_above = keys[round] > least.key, is_tie = Source::takes_ties && keys[round] == least.key;
        const unsigned all_above = __ballot_sync(full_warp, is_above), all_ties = __ballot_sync(full_warp, is_tie);
        const std::uint64_t own_above = above + __popc(all_above & earlier_lanes);
        const std::uint64_t own_ties = ties + __popc(all_ties & earlier_lanes);
        if (is_above || (is_tie && own_ties < least.ties)) {
            const std::uint64_t place = own_above + (Source::takes_ties ? min(own_ties, least.ties) : 0);
            target.keys[place] = keys[round];
            target.indices[place] = source.index(first + round * warp_threads);
        }
        above += __popc(all_above);
        ties += __popc(all_ties);
    }
}

// ends[tensor], which was a place among the candidates, becomes the place among those that stay. A block for each.
__global__ void move_ends(Candidates candidates, const Threshold *threshold, const Counts *counts,
                          std::uint64_t *ends) {
    const std::uint64_t end = ends[blockIdx.x], piece = end / piece_size;
    std::uint64_t found = 0;
    for (std::uint64_t i = piece * piece_size + threadIdx.x; i < end; i += blockDim.x)
        found += pack(candidates.keys[i] > threshold->key, candidates.keys[i] == threshold->key);
    found = block_sum(found);
    if (threadIdx.x == 0)
        ends[blockIdx.x] = counts[piece].above + (found >> 32) +
                           min(counts[piece].others + (found & 0xffffffffu), threshold->ties);
}

// The k-th largest key is found digit by digit, from the first.
constexpr unsigned digit_shifts[] = {20, 10, 0};
constexpr unsigned most_digits = 2048;  // the first one has 11 bits, the others 10

// How many keys that begin as the threshold does so far have each next digit.
__global__ void count_digits(const Key *keys, std::uint64_t count, const Threshold *threshold, unsigned shift,
                             unsigned digits, unsigned *histogram) {
    __shared__ unsigned counts[most_digits];
    for (unsigned i = threadIdx.x; i < digits; i += blockDim.x) counts[i] = 0;
    __syncthreads();
    const auto beginning = static_cast<std::uint32_t>(threshold->key);
    for (std::uint64_t i = first_item(); i < count; i += item_stride()) {
        const std::uint32_t some = static_cast<std::uint32_t>(keys[i]) >> shift;
        if (some / digits == beginning) atomicAdd(&counts[some % digits], 1u);
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < digits; i += blockDim.x)
        if (counts[i] > 0) atomicAdd(&histogram[i], counts[i]);
}

// The next digit of the threshold; `ties` becomes how many of the keys that have it are wanted. One block, which leaves
// the histogram empty.
__global__ void choose_digit(unsigned *histogram, unsigned digits, Threshold *threshold) {
    const Threshold before = *threshold;
    const unsigned share = digits / block_threads, first = digits - 1 - threadIdx.x * share;
    std::uint64_t own = 0, all;
    for (unsigned i = 0; i < share; ++i) own += histogram[first - i];
    std::uint64_t above = block_sum_before(own, all);
    for (unsigned i = 0; i < share; ++i) {
        const std::uint64_t next = above + histogram[first - i];
        if (above < before.ties && before.ties <= next)
            *threshold = {static_cast<Key>(static_cast<std::uint32_t>(before.key) * digits + first - i), 0,
                          before.ties - above};
        above = next;
        histogram[first - i] = 0;
    }
}

__device__ std::uint64_t lower_bound(const std::uint32_t *sorted, std::uint64_t count, std::uint64_t least) {
    std::uint64_t low = 0, high = count;
    while (low < high) {
        const std::uint64_t middle = (low + high) / 2;
        if (sorted[middle] < least)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

__global__ void exclude(const std::uint32_t *excluded, std::uint64_t excluded_count, std::uint64_t first,
                        std::uint64_t count, float *scores) {
    const std::uint64_t begin = lower_bound(excluded, excluded_count, first);
    const std::uint64_t end = lower_bound(excluded, excluded_count, first + count);
    for (std::uint64_t i = begin + first_item(); i < end; i += item_stride())
        scores[excluded[i] - first] = __uint_as_float(0x7fc00000u);
}

class ProductSelection {
public:
    ProductSelection(const speft_backend_device &device, const speft_select_product &arguments, bool tensor_cores)
        : device_(device), arguments_(arguments), tensor_cores_(tensor_cores) {
        for (std::uint64_t tensor = 0; tensor < arguments.tensors; ++tensor) {
            const Matrix matrix(arguments.scores[tensor]);
            total_ += matrix.size();
            scores_size_ = std::max(scores_size_, matrix.rows_at_once() * matrix.columns);
        }
        const std::uint64_t k = std::min(arguments.k, total_);
        capacity_ = std::min(k + k / 4 + scores_size_, total_);
        best_size_ = capacity_ > k ? k : 0;  // all of them fit: none is ever thrown away
    }

    std::uint64_t scratch_bytes() const {
        return sizeof(Threshold) + most_digits * sizeof(unsigned) + counts_size() * sizeof(Counts) +
               arguments_.tensors * sizeof(std::uint64_t) + capacity_ * candidate_bytes + rows_bytes();
    }

    void run(void *scratch) {
        divide(scratch);
        set_threshold({arguments_.k > 0 ? no_key : std::numeric_limits<Key>::max(), 0, 0});
        check(cudaMemsetAsync(histogram_, 0, most_digits * sizeof *histogram_, device_.stream), "select_product");
        for (std::uint64_t tensor = 0; tensor < arguments_.tensors; ++tensor) {
            add_tensor(arguments_.scores[tensor]);
            ends_.push_back(size_);
        }
        *arguments_.eligible = eligible_;
        if (eligible_ < arguments_.k) return;
        if (size_ > arguments_.k) keep_best();
        check(cudaMemcpyAsync(arguments_.indices, candidates_.indices, arguments_.k * sizeof *arguments_.indices,
                              cudaMemcpyDeviceToDevice, device_.stream),
              "select_product");
        for (std::uint64_t tensor = 0; tensor < arguments_.tensors; ++tensor)
            arguments_.counts[tensor] = ends_[tensor] - (tensor > 0 ? ends_[tensor - 1] : 0);
    }

private:
    static constexpr std::uint64_t candidate_bytes = sizeof(Key) + sizeof(std::uint32_t);

    std::uint64_t counts_size() const { return divide_up(std::max(capacity_, scores_size_), piece_size) + 1; }
    // The rows' scores and the best candidates, on their way, are never there at the same time.
    std::uint64_t rows_bytes() const { return std::max(scores_size_ * sizeof(float), best_size_ * candidate_bytes); }

    // What comes first is aligned for what comes next.
    void divide(void *scratch) {
        threshold_ = static_cast<Threshold *>(scratch);
        counts_ = reinterpret_cast<Counts *>(threshold_ + 1);
        device_ends_ = reinterpret_cast<std::uint64_t *>(counts_ + counts_size());
        histogram_ = reinterpret_cast<unsigned *>(device_ends_ + arguments_.tensors);
        candidates_.keys = reinterpret_cast<Key *>(histogram_ + most_digits);
        candidates_.indices = reinterpret_cast<std::uint32_t *>(candidates_.keys + capacity_);
        scores_ = reinterpret_cast<float *>(candidates_.indices + capacity_);
        best_.keys = reinterpret_cast<Key *>(scores_);
        best_.indices = reinterpret_cast<std::uint32_t *>(best_.keys + best_size_);
    }

    void set_threshold(const Threshold &threshold) { upload(device_, threshold_, &threshold, sizeof threshold); }

    template <class... Parameters, class... Arguments>
    void run_kernel(unsigned blocks, void (*kernel)(Parameters...), const Arguments &...arguments) const {
        launch(device_, "select_product", {.blocks = blocks}, kernel, arguments...);
    }

    void add_tensor(const speft_product_score &score) {
        const Matrix matrix(score);
        if (matrix.size() == 0) return;
        for (std::uint64_t row = 0; row < matrix.rows; row += matrix.rows_at_once()) {
            const std::uint64_t rows = std::min(matrix.rows_at_once(), matrix.rows - row);
            const std::uint64_t first = row * matrix.columns, size = rows * matrix.columns;
            if (size_ + size > capacity_) keep_best();
            compute_rows(score, row, rows, size);
            if (score.excluded_count > 0)
                run_kernel(count_blocks(device_, std::min(score.excluded_count, size), block_threads), exclude,
                           score.excluded, score.excluded_count, first, size, scores_);
            const Counts found = filter(Scores{scores_, first}, size,
                                        Candidates{candidates_.keys + size_, candidates_.indices + size_});
            size_ += found.above;
            eligible_ += found.others;
            report(size);
        }
    }

    void compute_rows(const speft_product_score &score, std::uint64_t row, std::uint64_t rows,
                      std::uint64_t size) const {
        check(cudaMemsetAsync(scores_, 0, size * sizeof *scores_, device_.stream), "select_product");
        for (std::uint64_t index = 0; index < score.count; ++index) {
            const speft_product_factors &part = score.parts[index];
            if (part.tokens > 0)
                add_everywhere(device_, "select_product", make_factors(part, score).with_rows(row, rows), part.tokens,
                               part.scale, scores_, tensor_cores_);
        }
    }

    // Copies what stays by the threshold, and says how much there was.
    template <class Source>
    Counts filter(const Source &source, std::uint64_t count, const Candidates &target) const {
        const std::uint64_t pieces = divide_up(count, piece_size);
        const auto blocks = static_cast<unsigned>(pieces);
        run_kernel(blocks, count_keys<Source>, source, count, threshold_, counts_);
        run_kernel(1, sum_counts, counts_, pieces);
        run_kernel(blocks, keep<Source>, source, count, threshold_, counts_, target);
        Counts all;
        read(device_, &all, counts_ + pieces, sizeof all);
        return all;
    }

    // There are more than k candidates.
    void keep_best() {
        const std::uint64_t k = arguments_.k;
        set_threshold({0, 0, k});
        unsigned digits = most_digits;
        for (const unsigned shift : digit_shifts) {
            run_kernel(count_blocks(device_, size_, 16 * block_threads), count_digits, candidates_.keys, size_,
                       threshold_, shift, digits, histogram_);
            run_kernel(1, choose_digit, histogram_, digits, threshold_);
            digits = 1024;
        }
        filter(Kept{candidates_}, size_, best_);
        move_all_ends();
        const auto copy = [&](auto *target, const auto *source) {
            check(cudaMemcpyAsync(target, source, k * sizeof *target, cudaMemcpyDeviceToDevice, device_.stream),
                  "select_product");
        };
        copy(candidates_.keys, best_.keys);
        copy(candidates_.indices, best_.indices);
        size_ = k;
    }

    void move_all_ends() {
        if (ends_.empty()) return;
        const std::uint64_t bytes = ends_.size() * sizeof ends_[0];
        upload(device_, device_ends_, ends_.data(), bytes);
        run_kernel(static_cast<unsigned>(ends_.size()), move_ends, candidates_, threshold_, counts_, device_ends_);
        read(device_, ends_.data(), device_ends_, bytes);
    }

    void report(std::uint64_t scalars) {
        done_ += scalars;
        const speft_progress *progress = arguments_.progress;
        if (progress && progress->report(progress->user, static_cast<std::int64_t>(done_),
                                         static_cast<std::int64_t>(total_)) != 0)
            throw Failure(SPEFT_CANCELLED, "the selection was cancelled by the progress callback");
    }

    const speft_backend_device &device_;
    const speft_select_product &arguments_;
    const bool tensor_cores_;
    std::uint64_t total_ = 0;
    std::uint64_t scores_size_ = 0;  // of the most rows at once
    std::uint64_t capacity_ = 0;     // of the candidates
    std::uint64_t best_size_ = 0;
    std::uint64_t size_ = 0;           // of the candidates
    std::vector<std::uint64_t> ends_;  // of each tensor's candidates
    std::uint64_t eligible_ = 0;
    std::uint64_t done_ = 0;

    Threshold *threshold_;
    Counts *counts_;
    std::uint64_t *device_ends_;
    unsigned *histogram_;
    Candidates candidates_;
    Candidates best_;
    float *scores_;
};

}  // namespace

const char *refuse_selection_on_tensor_cores(const speft_backend_device *, const void *arguments) {
    const auto &selection = *static_cast<const speft_select_product *>(arguments);
    for (std::uint64_t tensor = 0; tensor < selection.tensors; ++tensor) {
        const speft_product_score &score = selection.scores[tensor];
        for (std::uint64_t part = 0; part < score.count; ++part)
            if (!make_factors(score.parts[part], score).are_bfloat16()) return "x and dy are not all bfloat16";
    }
    return nullptr;
}

std::uint64_t select_product_scratch(const speft_backend_device &device, const speft_select_product &arguments) {
    return ProductSelection(device, arguments, true).scratch_bytes();
}

void select_product_on_tensor_cores(speft_backend_device &device, const speft_select_product &arguments,
                                    void *scratch) {
    ProductSelection(device, arguments, true).run(scratch);
}

void select_product(speft_backend_device &device, const speft_select_product &arguments, void *scratch) {
    ProductSelection(device, arguments, false).run(scratch);
}

}  // namespace speft::cuda
