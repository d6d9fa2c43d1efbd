// The mask of an AVX-512 comparison as bits. Internal linkage: only files of those instructions include it.
#pragma once

#include <cstdint>

namespace speft::cpu {
namespace {

// GCC 12 may spill a mask of 8 or 16 lanes by storing as many bits, and read 32 back (seen at -O1 under the thread
// sanitizer). The empty assembly makes it widen the mask in a register first.
template <class Mask>
std::uint32_t mask_bits(Mask mask) {
    std::uint32_t bits = mask;
    asm("" : "+r"(bits));
    return bits;
}

}  // namespace
}  // namespace speft::cpu
