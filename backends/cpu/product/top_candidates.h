// The k largest of a stream of scores that comes tensor by tensor in the order of indices, in memory for about 2·k.
//
// Candidates are kept in that order. When there is no room for more, the k best stay, ties to the earlier, and the
// least magnitude among them becomes the bound: whatever comes later has to be above it, since k earlier ones are at
// least as good as the bound. So what is left at the end is exact, whatever the scores are.
//
// Scratch: 8 bytes for each of 2·k candidates and a piece of 16,384.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backends/cpu/device.h"

namespace speft::cpu {

class TopCandidates {
public:
    // Of `total` scores, those of all `tensors`.
    static std::uint64_t scratch_bytes(std::uint64_t k, std::uint64_t total);
    TopCandidates(const speft_backend_device &device, std::uint64_t tensors, std::uint64_t k, std::uint64_t total,
                  void *scratch);

    // |values| are the scores from index `first` of a tensor on.
    void add(std::uint64_t tensor, std::uint64_t first, std::span<const float> values);

    // How many scores were no NaN.
    std::uint64_t eligible() const { return eligible_; }
    // There were at least k such.
    void write(std::uint32_t *indices, std::uint64_t *counts);

private:
    void collect(std::uint64_t first, std::span<const float> values, std::uint64_t place) const;
    void keep_best();

    const speft_backend_device &device_;
    const std::uint64_t k_;
    const std::uint64_t capacity_;
    std::uint32_t *const magnitudes_;  // of the candidates
    std::uint32_t *const indices_;
    std::uint64_t size_ = 0;
    std::vector<std::uint64_t> counts_;  // of each tensor's candidates
    std::int32_t bound_;                 // the magnitude of every candidate to come is above it
    std::uint64_t eligible_ = 0;
};

}  // namespace speft::cpu
