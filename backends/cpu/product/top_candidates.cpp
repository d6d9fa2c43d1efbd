#include "backends/cpu/product/top_candidates.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/cpu/parallel.h"
#include "backends/cpu/selection/kth_largest.h"
#include "core/base/score.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t piece_size = 16384;

// Room for a piece more than the k that are kept, so that each round takes at least one.
std::uint64_t choose_capacity(std::uint64_t k, std::uint64_t total) {
    return std::min(2 * std::min(k, total) + piece_size, total);
}

std::uint32_t key_of(float value) { return rank_key(std::fabs(value)); }

// What a piece of the scores gives.
struct Share {
    std::uint32_t eligible;
    std::uint32_t candidates;
    std::uint64_t place;  // of its first candidate
};

Share count_share(std::span<const float> values, std::uint32_t bound) {
    Share share{};
    for (const float value : values) {
        const std::uint32_t key = key_of(value);
        share.eligible += key != 0;
        share.candidates += key > bound;
    }
    return share;
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
      keys_(static_cast<std::uint32_t *>(scratch)),
      indices_(keys_ + capacity_),
      counts_(tensors),
      bound_(k > 0 ? 0 : std::numeric_limits<std::uint32_t>::max()) {}

void TopCandidates::add(std::uint64_t tensor, std::uint64_t first, std::span<const float> values) {
    const Pieces pieces(piece_size, values.size());
    const auto values_of = [&](Piece piece) { return values.subspan(piece.begin, piece.end - piece.begin); };
    std::vector<Share> shares(static_cast<std::size_t>(pieces.count()));
    for (std::int64_t begin = 0, end = 0; begin < pieces.count(); begin = end) {
        parallel_for(device_, pieces.count() - begin, [&](std::int64_t i) {
            shares[begin + i] = count_share(values_of(pieces[begin + i]), bound_);
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
            if (share.candidates == 0) return;
            const Piece piece = pieces[begin + i];
            std::uint64_t place = share.place;
            for (std::uint64_t j = piece.begin; j < piece.end; ++j) {
                const std::uint32_t key = key_of(values[j]);
                if (key <= bound_) continue;
                keys_[place] = key;
                indices_[place++] = static_cast<std::uint32_t>(first + j);
            }
        });
        if (end < pieces.count()) keep_best();
    }
}

void TopCandidates::keep_best() {
    constexpr std::uint32_t highest_key = 0xff800000u;  // of +inf
    const std::uint32_t threshold = find_kth_largest(device_, {keys_, size_}, k_, {bound_, highest_key, 0});
    std::uint64_t ties = k_;
    for (std::uint64_t i = 0; i < size_; ++i) ties -= keys_[i] > threshold;
    std::uint64_t kept = 0, i = 0;
    for (std::uint64_t &count : counts_) {
        const std::uint64_t end = i + count, kept_before = kept;
        for (; i < end; ++i) {
            const bool tie = keys_[i] == threshold;
            if (keys_[i] < threshold || (tie && ties == 0)) continue;
            ties -= tie;
            keys_[kept] = keys_[i];
            indices_[kept++] = indices_[i];
        }
        count = kept - kept_before;
    }
    size_ = kept;
    bound_ = threshold;
}

void TopCandidates::write(std::uint32_t *indices, std::uint64_t *counts) {
    if (size_ > k_) keep_best();
    std::copy_n(indices_, k_, indices);
    std::copy(counts_.begin(), counts_.end(), counts);
}

}  // namespace speft::cpu
