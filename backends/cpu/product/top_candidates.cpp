#include "backends/cpu/product/top_candidates.h"

#include <algorithm>

#include "backends/cpu/parallel.h"
#include "backends/cpu/selection/kth_largest.h"
#include "core/base/scalar.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t piece_size = 16384, run_size = 32;

// Room for a piece more than the k that are kept, so that each round takes at least one.
std::uint64_t choose_capacity(std::uint64_t k, std::uint64_t total) {
    return std::min(2 * std::min(k, total) + piece_size, total);
}

// Magnitudes rank as rank_key does, NaNs above infinity; signed, because that is what every vector unit compares.
constexpr std::int32_t infinity = 0x7f800000;

std::int32_t magnitude_of(float value) {
    return static_cast<std::int32_t>(bit_copy<std::uint32_t>(value) & 0x7fffffffu);
}

// What a piece of the scores gives.
struct Share {
    std::uint64_t eligible;
    std::uint64_t candidates;
    std::uint64_t place;  // of its first candidate
};

Share count_share(std::span<const float> values, std::int32_t bound) {
    std::int32_t above = 0, nans = 0;
    for (const float value : values) {
        above += magnitude_of(value) > bound;
        nans += magnitude_of(value) > infinity;
    }
    return {values.size() - static_cast<std::uint64_t>(nans), static_cast<std::uint64_t>(above - nans), 0};
}

// Most of a run is below the bound, which the signs of differences tell of many at once.
bool has_any_above(const float *values, std::int32_t bound) {
    std::int32_t signs = 0;
    for (std::uint64_t i = 0; i < run_size; ++i) signs |= bound - magnitude_of(values[i]);
    return signs < 0;
}

}  // namespace

std::uint64_t TopCandidates::scratch_bytes(std::uint64_t k, std::uint64_t total) {
    return 2 * choose_capacity(k, total) * sizeof(std::uint32_t);
}

TopCandidates::TopCandidates(const speft_backend_device &device, std::uint64_t tensors, std::uint64_t k,
                             std::uint64_t total, void *scratch)
    : device_(device),
      k_(k),
      capacity_(choose_capacity(k, total)),
      magnitudes_(static_cast<std::uint32_t *>(scratch)),
      indices_(magnitudes_ + capacity_),
      counts_(tensors),
      bound_(k > 0 ? -1 : infinity) {}

void TopCandidates::add(std::uint64_t tensor, std::uint64_t first, std::span<const float> values) {
    const Pieces pieces(piece_size, values.size());
    std::vector<Share> shares(static_cast<std::size_t>(pieces.count()));
    for (std::int64_t begin = 0, end = 0; begin < pieces.count(); begin = end) {
        parallel_for(device_, pieces.count() - begin, [&](std::int64_t i) {
            const Piece piece = pieces[begin + i];
            shares[begin + i] = count_share(values.subspan(piece.begin, piece.end - piece.begin), bound_);
        });
        const std::uint64_t before = size_;
        for (; end < pieces.count() && size_ + shares[end].candidates <= capacity_; ++end) {
            shares[end].place = size_;
            size_ += shares[end].candidates;
            eligible_ += shares[end].eligible;
        }
        counts_[tensor] += size_ - before;
        parallel_for(device_, end - begin, [&](std::int64_t i) {
            const Share &share = shares[begin + i];
            const Piece piece = pieces[begin + i];
            if (share.candidates > 0)
                collect(first + piece.begin, values.subspan(piece.begin, piece.end - piece.begin), share.place);
        });
        if (end < pieces.count()) keep_best();
    }
}

void TopCandidates::collect(std::uint64_t first, std::span<const float> values, std::uint64_t place) const {
    for (std::uint64_t run = 0; run < values.size(); run += run_size) {
        const std::span<const float> part = values.subspan(run, std::min(run_size, values.size() - run));
        if (part.size() == run_size && !has_any_above(part.data(), bound_)) continue;
        for (std::uint64_t i = 0; i < part.size(); ++i) {
            const std::int32_t magnitude = magnitude_of(part[i]);
            if (magnitude <= bound_ || magnitude > infinity) continue;
            magnitudes_[place] = static_cast<std::uint32_t>(magnitude);
            indices_[place++] = static_cast<std::uint32_t>(first + run + i);
        }
    }
}

void TopCandidates::keep_best() {
    const KeyRange all{0, infinity, 0};
    const std::uint32_t threshold = find_kth_largest(device_, {magnitudes_, size_}, k_, all);
    std::uint64_t ties = k_;
    for (std::uint64_t i = 0; i < size_; ++i) ties -= magnitudes_[i] > threshold;
    std::uint64_t kept = 0, i = 0;
    for (std::uint64_t &count : counts_) {
        const std::uint64_t end = i + count, kept_before = kept;
        for (; i < end; ++i) {
            const bool tie = magnitudes_[i] == threshold;
            if (magnitudes_[i] < threshold || (tie && ties == 0)) continue;
            ties -= tie;
            magnitudes_[kept] = magnitudes_[i];
            indices_[kept++] = indices_[i];
        }
        count = kept - kept_before;
    }
    size_ = kept;
    bound_ = static_cast<std::int32_t>(threshold);
}

void TopCandidates::write(std::uint32_t *indices, std::uint64_t *counts) {
    if (size_ > k_) keep_best();
    std::copy_n(indices_, k_, indices);
    std::copy(counts_.begin(), counts_.end(), counts);
}

}  // namespace speft::cpu
