// Moments as they are stored, and as the float32 values that a step works on: four of them a thread, so that the 64
// that share a scale are those of 16 neighbouring threads. All threads of a block call, also those without an element.
#pragma once

#include "backends/cuda/kernels/block.h"
#include "backends/cuda/kernels/quad.h"
#include "core/base/block_code.h"
#include "core/base/segment.h"
#include "speft/backend.h"

namespace speft::cuda {

static_assert(elements_per_block<> % code_block_size == 0);

// Made by all threads of a kernel's blocks before they take moments.
struct NoCodes {
    __device__ NoCodes() {}
};

__constant__ const BlockCode device_block_codes[2] = {make_block_code(false), make_block_code(true)};

// The codes where lookups at places of their own cost least.
class SharedCodes {
public:
    __device__ SharedCodes() {
        __shared__ BlockCode codes[2];
        for (unsigned sign = 0; sign < 2; ++sign) {
            for (unsigned i = threadIdx.x; i < 256; i += blockDim.x) {
                codes[sign].values[i] = device_block_codes[sign].values[i];
                if (i < 255) codes[sign].thresholds[i] = device_block_codes[sign].thresholds[i];
            }
        }
        __syncthreads();
        codes_ = codes;
    }

    __device__ const BlockCode &of(bool is_signed) const { return codes_[is_signed]; }

private:
    const BlockCode *codes_;
};

class Float32Moments {
public:
    using Codes = NoCodes;
    static constexpr unsigned rounds = 1;

    __device__ Float32Moments(const speft_moments &moments, bool, const Codes &) : moments_(moments) {}

    __device__ void load(std::uint64_t j, unsigned mask) { quad_ = Quad::load<4>(moments_.values, j, mask); }
    __device__ float value(unsigned i) const { return quad_.get<float>(i); }

    // Those in `moved` of those in `mask` have become `values`, the others were so.
    __device__ void store(std::uint64_t j, unsigned, unsigned moved, const float (&values)[quad_size]) {
        Quad quad;
        for (unsigned i = 0; i < quad_size; ++i) quad.put(i, values[i]);
        quad.store<4>(moments_.values, j, moved);
    }

private:
    const speft_moments &moments_;
    Quad quad_;
};

class BFloat16Moments {
public:
    using Codes = NoCodes;
    static constexpr unsigned rounds = 1;

    __device__ BFloat16Moments(const speft_moments &moments, bool, const Codes &) : moments_(moments) {}

    __device__ void load(std::uint64_t j, unsigned mask) { quad_ = Quad::load<2>(moments_.values, j, mask); }
    __device__ float value(unsigned i) const { return to_float(quad_.get<BFloat16>(i)); }

    __device__ void store(std::uint64_t j, unsigned, unsigned moved, const float (&values)[quad_size]) {
        Quad quad;
        for (unsigned i = 0; i < quad_size; ++i)
            quad.put(i, round_delta(values[i], moments_.rounding_key, j + i, BFloat16{}));
        quad.store<2>(moments_.values, j, moved);
    }

private:
    const speft_moments &moments_;
    Quad quad_;
};

class Blocks8Moments {
public:
    using Codes = SharedCodes;
    static constexpr unsigned rounds = 4;  // the codes are then small beside what a block moves

    __device__ Blocks8Moments(const speft_moments &moments, bool is_signed, const Codes &codes)
        : moments_(moments), code_(codes.of(is_signed)) {}

    __device__ void load(std::uint64_t j, unsigned mask) {
        quad_ = Quad::load<1>(moments_.values, j, mask);
        scale_ = mask ? moments_.scales[j / code_block_size] : 0;
    }
    __device__ float value(unsigned i) const {
        return decode_in_block(code_, static_cast<std::uint8_t>(quad_.bits<1>(i)), scale_);
    }

    // A block in which something has moved is rounded again as a whole.
    __device__ void store(std::uint64_t j, unsigned mask, unsigned moved, const float (&values)[quad_size]) {
        std::uint32_t largest = 0;
        for (unsigned i = 0; i < quad_size; ++i)
            if (mask >> i & 1) largest = max(largest, magnitude_bits(values[i]));
        for (unsigned distance = block_lanes / 2; distance > 0; distance /= 2) {
            largest = max(largest, __shfl_xor_sync(full_warp, largest, distance));
            moved |= __shfl_xor_sync(full_warp, moved, distance);
        }
        if (moved == 0 || mask == 0) return;
        const float scale = block_scale(largest);
        if (j % code_block_size == 0) moments_.scales[j / code_block_size] = scale;
        Quad quad;
        for (unsigned i = 0; i < quad_size; ++i) quad.set<1>(i, encode_in_block(code_, values[i], scale));
        quad.store<1>(moments_.values, j, mask);
    }

private:
    static constexpr unsigned block_lanes = code_block_size / quad_size;

    const speft_moments &moments_;
    const BlockCode &code_;
    Quad quad_;
    float scale_ = 0;
};

}  // namespace speft::cuda
