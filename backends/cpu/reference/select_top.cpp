// The k largest scores by radix selection: three passes find the key of the k-th largest digit by digit, one counts
// what each piece gives, one writes. Scores are computed anew in each pass and never stored. Scratch: a histogram,
// and four words a piece of 65,536 scores.
#include <array>
#include <atomic>

#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/reference/score_keys.h"
#include "core/base/status.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t piece_size = 65536;
constexpr std::uint64_t batch_size = 1024;

// body(keys, first, count) for each batch of a piece, in order; `first` is the index of keys[0].
template <class Body>
void for_each_batch(const speft_score &score, Piece piece, Body &&body) {
    std::uint32_t keys[batch_size];
    for (std::uint64_t first = piece.begin; first < piece.end; first += batch_size) {
        const std::uint64_t count = std::min(batch_size, piece.end - first);
        compute_keys(score, first, count, keys);
        body(keys, first, count);
    }
}

// One digit of the keys: `bits` wide, `shift` from the right.
struct Digit {
    unsigned shift;
    unsigned bits;
};

constexpr std::array<Digit, 3> digits = {{{21, 11}, {10, 11}, {0, 10}}};
constexpr std::uint32_t bins = 1u << 11;
constexpr std::int64_t reported_passes = digits.size() + 1;

// What a piece gives: its keys above the k-th largest, and those equal to it.
struct Share {
    std::uint64_t above = 0;
    std::uint64_t equal = 0;
    std::uint64_t place = 0;  // of its first index in the result
    std::uint64_t taken = 0;  // how many of `equal`
};

class TopSelection {
public:
    TopSelection(const speft_backend_device &device, const speft_select_top &arguments)
        : device_(device), arguments_(arguments), pieces_(piece_size), remaining_(arguments.k) {
        for (std::uint64_t tensor = 0; tensor < arguments.tensors; ++tensor) {
            pieces_.add(arguments.scores[tensor].count);
            total_ += arguments.scores[tensor].count;
        }
        shares_.resize(static_cast<std::size_t>(pieces_.count()));
    }

    void run() {
        if (!find_threshold()) return;
        count_shares();
        place_shares();
        write();
    }

private:
    // Fixes the key of the k-th largest from its highest digit down. False when there are fewer than k.
    bool find_threshold() {
        for (const Digit digit : digits) {
            make_histogram(digit);
            if (digit.shift == digits.front().shift) {
                // The smallest key but NaN's 0 is −inf's, whose first digit is not 0: bin 0 holds the NaNs.
                *arguments_.eligible = total_ - histogram_[0];
                if (*arguments_.eligible < arguments_.k) return false;
            }
            std::uint32_t bin = (1u << digit.bits) - 1;
            for (; bin > 0 && histogram_[bin] < remaining_; --bin) remaining_ -= histogram_[bin];
            threshold_ |= bin << digit.shift;
        }
        return true;
    }

    // Counts the keys that agree with the threshold above this digit.
    void make_histogram(Digit digit) {
        for (auto &bin : histogram_) bin.store(0, std::memory_order_relaxed);
        const unsigned above = digit.shift + digit.bits;
        const std::uint32_t mask = (1u << digit.bits) - 1;
        for_each_reported_piece([&](Piece piece, std::int64_t) {
            std::uint32_t counts[bins] = {};
            for_each_batch(arguments_.scores[piece.array], piece,
                           [&](const std::uint32_t *keys, std::uint64_t, std::uint64_t count) {
                               for (std::uint64_t i = 0; i < count; ++i)
                                   if (above == 32 || (keys[i] ^ threshold_) >> above == 0)
                                       ++counts[(keys[i] >> digit.shift) & mask];
                           });
            for (std::uint32_t bin = 0; bin <= mask; ++bin)
                if (counts[bin]) histogram_[bin].fetch_add(counts[bin], std::memory_order_relaxed);
        });
    }

    void count_shares() {
        for_each_reported_piece([&](Piece piece, std::int64_t index) {
            std::uint32_t above = 0, equal = 0;
            for_each_batch(arguments_.scores[piece.array], piece,
                           [&](const std::uint32_t *keys, std::uint64_t, std::uint64_t count) {
                               for (std::uint64_t i = 0; i < count; ++i) {
                                   above += keys[i] > threshold_;
                                   equal += keys[i] == threshold_;
                               }
                           });
            shares_[index] = {.above = above, .equal = equal};
        });
    }

    // Ties go to the smaller tensor, then to the smaller index: to the earlier piece.
    void place_shares() {
        std::fill_n(arguments_.counts, arguments_.tensors, 0);
        std::uint64_t place = 0;
        for (std::int64_t index = 0; index < pieces_.count(); ++index) {
            Share &share = shares_[index];
            share.place = place;
            share.taken = std::min(share.equal, remaining_);
            remaining_ -= share.taken;
            place += share.above + share.taken;
            arguments_.counts[pieces_[index].array] += share.above + share.taken;
        }
    }

    void write() {
        for_each_piece(device_, pieces_, [&](Piece piece, std::int64_t index) {
            Share share = shares_[index];
            if (share.above + share.taken == 0) return;
            for_each_batch(arguments_.scores[piece.array], piece,
                           [&](const std::uint32_t *keys, std::uint64_t first, std::uint64_t count) {
                               for (std::uint64_t i = 0; i < count; ++i) {
                                   const bool tie = keys[i] == threshold_;
                                   if (keys[i] < threshold_ || (tie && share.taken == 0)) continue;
                                   share.taken -= tie;
                                   arguments_.indices[share.place++] = static_cast<std::uint32_t>(first + i);
                               }
                           });
        });
    }

    // body(piece, index) for each piece, with reports in between; the host may cancel at each.
    template <class Body>
    void for_each_reported_piece(Body &&body) {
        constexpr std::int64_t pieces_a_report = 1024;
        for (std::int64_t first = 0; first < pieces_.count(); first += pieces_a_report) {
            const std::int64_t count = std::min(pieces_a_report, pieces_.count() - first);
            parallel_for(device_, count, [&](std::int64_t i) { body(pieces_[first + i], first + i); });
            done_ += count;
            report();
        }
    }

    // In units of pieces. Nothing is reported once indices are being written.
    void report() const {
        const speft_progress *progress = arguments_.progress;
        if (progress && progress->report(progress->user, done_, reported_passes * pieces_.count()) != 0)
            throw Failure(SPEFT_CANCELLED, "the selection was cancelled by the progress callback");
    }

    const speft_backend_device &device_;
    const speft_select_top &arguments_;
    Pieces pieces_;
    std::vector<Share> shares_;
    std::uint64_t total_ = 0;
    std::array<std::atomic<std::uint64_t>, bins> histogram_{};
    std::uint32_t threshold_ = 0;
    std::uint64_t remaining_;  // how many more are wanted at or below the digits found so far
    std::int64_t done_ = 0;
};

}  // namespace

void select_top(const speft_backend_device &device, const speft_select_top &arguments) {
    TopSelection(device, arguments).run();
}

}  // namespace speft::cpu
