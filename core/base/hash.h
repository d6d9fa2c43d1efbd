// A 64-bit fingerprint of bytes, the same on every machine: tells one base model from another. It guards against
// mistakes, not against forgery.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "random.h"

namespace speft {

// Little-endian words of 8 bytes, the last one padded with zeros, chained through mix64; the length goes in first.
inline std::uint64_t hash_bytes(const void *data, std::size_t size) {
    const auto *bytes = static_cast<const unsigned char *>(data);
    std::uint64_t hash = mix64(size + 0x9e3779b97f4a7c15ull);
    for (std::size_t at = 0; at < size; at += 8) {
        std::uint64_t word = 0;
        memcpy(&word, bytes + at, size - at < 8 ? size - at : 8);
        hash = mix64(hash ^ word) + 0x9e3779b97f4a7c15ull;
    }
    return mix64(hash);
}

}  // namespace speft
