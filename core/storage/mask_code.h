// A mask in few bits: Elias and Fano's code (Elias 1974). Of k indices below N the low l = ⌊log2(N/k)⌋ bits are
// written as they are, the high bits in unary as they rise: k·l + k + ⌊(N−1)/2^l⌋ bits, within 0.6 bits an index of the
// least that a sparse random mask can take. The layout is in docs/file-format.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace speft {

// How many bytes the code of `count` of `size` scalars has, whichever they are; count <= size < 2^32.
std::uint64_t get_mask_code_size(std::uint64_t count, std::uint64_t size);

// `indices` strictly increase, below `size`.
std::vector<std::byte> encode_mask(std::span<const std::uint32_t> indices, std::uint64_t size);

// `code` has the size that belongs to `count` and `size`. Throws Defect unless it is what `encode_mask` makes of some
// mask: each mask has one code.
std::vector<std::uint32_t> decode_mask(std::span<const std::byte> code, std::uint64_t count, std::uint64_t size);

}  // namespace speft
