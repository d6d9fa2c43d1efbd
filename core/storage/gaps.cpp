#include "core/storage/gaps.h"

#include <string>

#include "core/storage/defect.h"

namespace speft {

namespace {

constexpr std::uint16_t escape = 65535;

}  // namespace

std::vector<std::uint16_t> encode_gaps(std::span<const std::uint32_t> indices) {
    std::vector<std::uint16_t> gaps;
    gaps.reserve(indices.size());
    std::uint64_t next = 0;  // the smallest value that the coming index may have
    for (const std::uint32_t index : indices) {
        std::uint64_t gap = index - next;
        for (; gap >= escape; gap -= escape) gaps.push_back(escape);
        gaps.push_back(static_cast<std::uint16_t>(gap));
        next = std::uint64_t{index} + 1;
    }
    return gaps;
}

std::vector<std::uint32_t> decode_gaps(std::span<const std::uint16_t> gaps, std::uint64_t count, std::uint64_t size) {
    std::vector<std::uint32_t> indices;
    std::uint64_t next = 0;
    for (const std::uint16_t gap : gaps) {
        next += gap;
        if (gap == escape) continue;
        if (next >= size)
            throw Defect("index " + std::to_string(next) + " is outside the " + std::to_string(size) + " scalars");
        indices.push_back(static_cast<std::uint32_t>(next++));
    }
    if (!gaps.empty() && gaps.back() == escape) throw Defect("the last gap is cut off");
    if (indices.size() != count)
        throw Defect("expected " + std::to_string(count) + " indices, got " + std::to_string(indices.size()));
    return indices;
}

}  // namespace speft
