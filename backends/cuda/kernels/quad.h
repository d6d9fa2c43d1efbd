// Four consecutive elements of an array in the registers of one thread, loaded and stored at once where they are
// aligned: a warp has many bytes under way. They are bits until they are asked for, so that no thread waits for one
// load before it issues the next.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "backends/cuda/kernels/launch.h"
#include "core/base/scalar.h"

namespace speft::cuda {

inline constexpr unsigned quad_size = 4;
inline constexpr unsigned whole_quad = 15;

// Which of the elements j … j + 3 come before `end`, one bit each.
SPEFT_HOST_DEVICE inline unsigned quad_mask(std::uint64_t j, std::uint64_t end) {
    if (j + quad_size <= end) return whole_quad;
    return j < end ? (1u << (end - j)) - 1 : 0;
}

// Elements of `width` bytes: 1, 2 or 4.
class Quad {
public:
    // Zeros.
    SPEFT_HOST_DEVICE Quad() : words_{} {}

    // Elements j … j + 3 of an array that are in `mask`; of the others nothing is read, and they are 0.
    template <unsigned width>
    SPEFT_HOST_DEVICE static Quad load(const void *values, std::uint64_t j, unsigned mask) {
        const unsigned char *const first = static_cast<const unsigned char *>(values) + j * width;
        Quad quad;
        if (mask == whole_quad && is_aligned<width>(first)) {
            memcpy(quad.words_, __builtin_assume_aligned(first, quad_size * width), quad_size * width);
        } else {
            for (unsigned i = 0; i < quad_size; ++i)
                if (mask >> i & 1) quad.set<width>(i, load_element<width>(first + i * width));
        }
        return quad;
    }

    template <unsigned width>
    SPEFT_HOST_DEVICE void store(void *values, std::uint64_t j, unsigned mask) const {
        unsigned char *const first = static_cast<unsigned char *>(values) + j * width;
        if (mask == whole_quad && is_aligned<width>(first)) {
            memcpy(__builtin_assume_aligned(first, quad_size * width), words_, quad_size * width);
        } else {
            for (unsigned i = 0; i < quad_size; ++i)
                if (mask >> i & 1) store_element<width>(first + i * width, bits<width>(i));
        }
    }

    template <unsigned width>
    SPEFT_HOST_DEVICE std::uint32_t bits(unsigned i) const {
        if constexpr (width == 4) return words_[i];
        return words_[i * width / 4] >> shift<width>(i) & (width == 2 ? 0xffffu : 0xffu);
    }

    // Of an element that is 0.
    template <unsigned width>
    SPEFT_HOST_DEVICE void set(unsigned i, std::uint32_t bits) {
        words_[i * width / 4] |= bits << shift<width>(i);
    }

    template <class Scalar>
    SPEFT_HOST_DEVICE Scalar get(unsigned i) const {
        if constexpr (sizeof(Scalar) == 4)
            return bit_copy<Scalar>(bits<4>(i));
        else
            return bit_copy<Scalar>(static_cast<std::uint16_t>(bits<2>(i)));
    }
    template <class Scalar>
    SPEFT_HOST_DEVICE void put(unsigned i, Scalar value) {
        if constexpr (sizeof(Scalar) == 4)
            set<4>(i, bit_copy<std::uint32_t>(value));
        else
            set<2>(i, bit_copy<std::uint16_t>(value));
    }

private:
    template <unsigned width>
    SPEFT_HOST_DEVICE static bool is_aligned(const void *place) {
        return reinterpret_cast<std::uintptr_t>(place) % (quad_size * width) == 0;
    }
    template <unsigned width>
    SPEFT_HOST_DEVICE static constexpr unsigned shift(unsigned i) {
        return i * width % 4 * 8;
    }

    template <unsigned width>
    SPEFT_HOST_DEVICE static std::uint32_t load_element(const unsigned char *place) {
        if constexpr (width == 1) return *place;
        if constexpr (width == 2) return copy_of<std::uint16_t>(place);
        if constexpr (width == 4) return copy_of<std::uint32_t>(place);
    }
    template <class Element>
    SPEFT_HOST_DEVICE static Element copy_of(const unsigned char *place) {
        Element element;
        memcpy(&element, __builtin_assume_aligned(place, sizeof element), sizeof element);
        return element;
    }
    template <unsigned width>
    SPEFT_HOST_DEVICE static void store_element(unsigned char *place, std::uint32_t bits) {
        memcpy(__builtin_assume_aligned(place, width), &bits, width);  // little-endian
    }

    std::uint32_t words_[4];
};

// A block's part of an array, when its threads take so many quads one after another.
template <unsigned rounds = 1>
inline constexpr std::uint64_t elements_per_block = std::uint64_t{rounds} * block_threads * quad_size;

// body(j, mask) for each quad of a block's part, by all threads together; mask is 0 where nothing is left for one.
template <unsigned rounds = 1, class Body>
__device__ inline void for_each_quad(std::uint64_t block, std::uint64_t count, Body &&body) {
    const std::uint64_t begin = block * elements_per_block<rounds>;
    const std::uint64_t end = min(begin + elements_per_block<rounds>, count);
    for (unsigned round = 0; round < rounds; ++round) {
        const std::uint64_t j = begin + (round * block_threads + threadIdx.x) * quad_size;
        body(j, quad_mask(j, end));
    }
}

}  // namespace speft::cuda
