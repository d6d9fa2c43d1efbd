// A quantized weight as kernels read it. Its tables, which are on the host, travel as the kernel's parameter and are
// looked up in shared memory: of 16 levels there each has a bank of its own, whatever the lanes ask for.
#pragma once

#include <algorithm>
#include <cstring>

#include "backends/cuda/kernels/divider.h"
#include "backends/cuda/kernels/launch.h"
#include "core/base/block_quantization.h"
#include "speft/backend.h"

namespace speft::cuda {

template <unsigned bytes>
struct WordOf;
template <> struct WordOf<2> { using Type = std::uint16_t; };
template <> struct WordOf<4> { using Type = std::uint32_t; };
template <> struct WordOf<8> { using Type = uint2; };
template <> struct WordOf<16> { using Type = uint4; };

template <unsigned bytes>
SPEFT_HOST_DEVICE inline bool is_aligned(const void *address) {
    return reinterpret_cast<std::uintptr_t>(address) % bytes == 0;
}

// `bytes` in one load where the address allows it, else one by one. What a tensor library allocates is aligned; a part
// of such an array need not be. (Volatile: g++ 12 would merge the two ways into one, and take that for aligned.)
template <unsigned bytes>
SPEFT_HOST_DEVICE inline void load_bytes(void *target, const void *source, bool aligned) {
    using Word = typename WordOf<bytes>::Type;
    if (aligned) {
        const Word word = *static_cast<const Word *>(source);
        memcpy(target, &word, bytes);
    } else {
        for (unsigned i = 0; i < bytes; ++i)
            static_cast<unsigned char *>(target)[i] = static_cast<const volatile unsigned char *>(source)[i];
    }
}
template <unsigned bytes>
SPEFT_HOST_DEVICE inline void load_bytes(void *target, const void *source) {
    load_bytes<bytes>(target, source, is_aligned<bytes>(source));
}

template <unsigned bytes>
SPEFT_HOST_DEVICE inline void store_bytes(void *target, const void *source) {
    using Word = typename WordOf<bytes>::Type;
    if (is_aligned<bytes>(target)) {
        Word word;
        memcpy(&word, source, bytes);
        *static_cast<Word *>(target) = word;
    } else {
        for (unsigned i = 0; i < bytes; ++i)
            static_cast<volatile unsigned char *>(target)[i] = static_cast<const unsigned char *>(source)[i];
    }
}

// The parameter. Flat indices are of 32 bits, so numbers of scalars and of blocks are.
struct CodedWeight {
    const std::uint8_t *codes;
    const float *absmax;
    const std::uint8_t *absmax_codes;
    const float *absmax_absmax;
    const float *absmax_offset;
    std::uint64_t count;
    Divider block, absmax_block;
    std::int32_t coding;
    float levels[16];
    float absmax_levels[256];

    explicit CodedWeight(const speft_quantized_blocks &q)
        : codes(static_cast<const std::uint8_t *>(q.codes)), absmax(q.absmax), absmax_codes(q.absmax_codes),
          absmax_absmax(q.absmax_absmax), absmax_offset(q.absmax_offset), count(q.count),
          block(static_cast<std::uint32_t>(std::max<std::uint64_t>(1, q.block))),  // 0: rows without columns
          absmax_block(static_cast<std::uint32_t>(std::max<std::uint64_t>(1, q.absmax_block))), coding(q.coding) {
        if (q.coding == SPEFT_CODING_LEVELS4) std::copy_n(q.levels, 16, levels);
        if (q.absmax_codes) std::copy_n(q.absmax_levels, 256, absmax_levels);
    }

    std::uint64_t blocks() const { return (count + block.divisor() - 1) / block.divisor(); }
};

// In shared memory.
struct CodeTables {
    float levels[16];
    float absmax_levels[256];
};

class Decoder {
public:
    // All threads of a block call; there is a barrier in it.
    __device__ Decoder(const CodedWeight &weight, CodeTables &tables) : weight_(weight), tables_(tables) {
        if (weight.coding == SPEFT_CODING_LEVELS4 && threadIdx.x < 16)
            tables.levels[threadIdx.x] = weight.levels[threadIdx.x];
        if (weight.absmax_codes) {
            for (unsigned i = threadIdx.x; i < 256; i += blockDim.x) tables.absmax_levels[i] = weight.absmax_levels[i];
            offset_ = *weight.absmax_offset;
        }
        __syncthreads();
    }

    __device__ float scale(std::uint32_t block) const {
        if (!weight_.absmax_codes) return weight_.absmax[block];
        return decode_absmax(tables_.absmax_levels[weight_.absmax_codes[block]],
                             weight_.absmax_absmax[weight_.absmax_block(block)], offset_);
    }
    __device__ float scale_of(std::uint64_t j) const { return scale(weight_.block(static_cast<std::uint32_t>(j))); }

    __device__ std::uint8_t code(std::uint64_t j) const {
        if (weight_.coding == SPEFT_CODING_INT8) return weight_.codes[j];
        return static_cast<std::uint8_t>(weight_.codes[j / 2] >> (j % 2 == 0 ? 4 : 0) & 15);
    }

    __device__ float level(std::uint32_t code) const { return tables_.levels[code]; }

    __device__ float decode(std::uint8_t code, float scale) const {
        if (weight_.coding == SPEFT_CODING_INT8) return decode_int8(static_cast<std::int8_t>(code), scale);
        return tables_.levels[code] * scale;
    }

    // `count` scalars that follow each other, of one block, from an even one on; a whole number of bytes.
    template <std::int32_t coding, unsigned count>
    __device__ void decode_run(const unsigned char *codes, float scale, float *weights) const {
        if constexpr (coding == SPEFT_CODING_INT8) {
            for (unsigned i = 0; i < count; ++i) weights[i] = decode_int8(static_cast<std::int8_t>(codes[i]), scale);
        } else {
            for (unsigned i = 0; i < count / 2; ++i) {
                weights[2 * i] = tables_.levels[codes[i] >> 4] * scale;
                weights[2 * i + 1] = tables_.levels[codes[i] & 15] * scale;
            }
        }
    }

private:
    const CodedWeight &weight_;
    const CodeTables &tables_;
    float offset_ = 0;
};

// How many bytes `count` codes take.
SPEFT_HOST_DEVICE constexpr std::uint64_t code_bytes(std::int32_t coding, std::uint64_t count) {
    return coding == SPEFT_CODING_LEVELS4 ? count / 2 : count;
}

// starts[i] = how many of `indices`, which rise, are below i·width, for i in [0, lines]. In multiply_quantized.cu.
void find_starts(const speft_backend_device &device, const char *operation, const std::uint32_t *indices,
                 std::uint64_t count, Divider width, std::uint32_t lines, std::uint32_t *starts);

}  // namespace speft::cuda
