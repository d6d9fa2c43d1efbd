#include "backends/cpu/selection/kth_largest.h"

#include <array>
#include <atomic>
#include <bit>

namespace speft::cpu {
namespace {

constexpr std::uint64_t piece_size = 32768;
constexpr unsigned digit_bits = 12;
constexpr std::uint32_t bins = 1u << digit_bits;

// Bits [shift, shift + bits) of a key's distance from the lowest one.
struct Digit {
    unsigned shift;
    unsigned bits;
};

class Histogram {
public:
    // Counts the digit of all keys whose distance has the higher bits of `prefix`.
    void count(const speft_backend_device &device, std::span<const std::uint32_t> keys, std::uint32_t low,
               Digit digit, std::uint32_t prefix) {
        for (auto &bin : bins_) bin.store(0, std::memory_order_relaxed);
        const std::uint32_t span = 1u << digit.bits;
        for_each_piece(device, Pieces(piece_size, keys.size()), [&](Piece piece, std::int64_t) {
            std::uint32_t counts[bins] = {};
            for (const std::uint32_t key : keys.subspan(piece.begin, piece.end - piece.begin)) {
                const std::uint32_t bin = (key - low - prefix) >> digit.shift;
                if (bin < span) ++counts[bin];
            }
            for (std::uint32_t bin = 0; bin < span; ++bin)
                if (counts[bin]) bins_[bin].fetch_add(counts[bin], std::memory_order_relaxed);
        });
    }

    std::uint64_t operator[](std::uint32_t bin) const { return bins_[bin].load(std::memory_order_relaxed); }

private:
    std::array<std::atomic<std::uint64_t>, bins> bins_;
};

}  // namespace

std::uint32_t find_kth_largest(const speft_backend_device &device, std::span<const std::uint32_t> keys,
                               std::uint64_t k, KeyRange range) {
    Histogram histogram;
    std::uint32_t distance = 0;  // of the k-th largest from `low`, as far as its digits are known
    for (auto left = static_cast<unsigned>(std::bit_width(range.high - range.low)); left > range.zero_bits;) {
        const unsigned bits = std::min(left - range.zero_bits, digit_bits);
        left -= bits;
        histogram.count(device, keys, range.low, {left, bits}, distance);
        std::uint32_t bin = (1u << bits) - 1;
        for (; bin > 0 && histogram[bin] < k; --bin) k -= histogram[bin];
        distance |= bin << left;
    }
    return range.low + distance;
}

}  // namespace speft::cpu
