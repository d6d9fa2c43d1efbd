// What a thread of a step has of a segment: four selected scalars in a row, with their deltas, originals and weights.
// Loads come first, so that all are under way together.
#pragma once

#include "backends/cuda/kernels/launch.h"
#include "backends/cuda/kernels/quad.h"
#include "backends/cuda/kernels/segment.h"
#include "core/base/update/decay.h"

namespace speft::cuda {

SPEFT_HOST_DEVICE inline Quad load_quad(const void *values, std::int32_t type, std::uint64_t j, unsigned mask) {
    return type == SPEFT_SCALAR_FLOAT32 ? Quad::load<4>(values, j, mask) : Quad::load<2>(values, j, mask);
}

class SegmentQuad {
public:
    // Scalars j … j + 3 that are in `mask`.
    __device__ SegmentQuad(const speft_segment &segment, std::uint64_t j, unsigned mask)
        : j_(j), mask_(mask), deltas_(load_quad(segment.deltas, segment.deltas_type, j, mask)) {
        if (segment.indices) indices_ = Quad::load<4>(segment.indices, j, mask);
        if (!segment.absolute) originals_ = load_quad(segment.originals, segment.weights_type, j, mask);
    }

    // Where decay pulls weights: those, as bits.
    __device__ void load_weights(const speft_segment &segment) {
        if (!is_scattered(segment)) {
            weights_ = load_quad(segment.weights, segment.weights_type, j_, mask_);
        } else if (segment.weights_type == SPEFT_SCALAR_FLOAT32) {
            gather<4>(static_cast<const std::uint32_t *>(segment.weights));
        } else {
            gather<2>(static_cast<const std::uint16_t *>(segment.weights));
        }
    }

    __device__ std::uint64_t index(const speft_segment &segment, unsigned i) const {
        return segment.indices ? indices_.bits<4>(i) : j_ + i;
    }
    __device__ float delta(const speft_segment &segment, unsigned i) const {
        return segment.deltas_type == SPEFT_SCALAR_FLOAT32 ? deltas_.get<float>(i) : to_float(deltas_.get<BFloat16>(i));
    }
    // Where `load_weights` was called.
    __device__ float weight(const speft_segment &segment, unsigned i) const {
        float weight = 0;
        visit_scalar(segment.weights_type,
                     [&](auto scalar) { weight = to_float(weights_.template get<decltype(scalar)>(i)); });
        return weight;
    }

    // The scalars in `moved` get new deltas, and the weights that follow from them.
    __device__ void store(const speft_segment &segment, unsigned moved, const float (&deltas)[quad_size]) const {
        visit_segment(segment, [&](auto typed) {
            using Scalar = typename decltype(typed)::Scalar;
            using Delta = typename decltype(typed)::Delta;
            Quad new_deltas, new_weights;
            for (unsigned i = 0; i < quad_size; ++i) {
                const Delta delta = round_delta(deltas[i], segment.rounding_key, j_ + i, Delta{});
                new_deltas.put(i, delta);
                new_weights.put(i, typed.merged(originals_.template get<Scalar>(i), to_float(delta)));
            }
            new_deltas.store<sizeof(Delta)>(segment.deltas, j_, moved);
            if (!is_scattered(segment)) {
                new_weights.store<sizeof(Scalar)>(segment.weights, j_, moved);
                return;
            }
            auto *const weights = static_cast<Scalar *>(segment.weights);
            for (unsigned i = 0; i < quad_size; ++i)
                if (moved >> i & 1) weights[indices_.bits<4>(i)] = new_weights.template get<Scalar>(i);
        });
    }

private:
    __device__ static bool is_scattered(const speft_segment &segment) { return segment.indices && !segment.compact; }

    template <unsigned width, class Bits>
    __device__ void gather(const Bits *weights) {
        Bits own[quad_size];
        for (unsigned i = 0; i < quad_size; ++i) own[i] = mask_ >> i & 1 ? weights[indices_.bits<4>(i)] : Bits{};
        for (unsigned i = 0; i < quad_size; ++i) weights_.set<width>(i, own[i]);
    }

    std::uint64_t j_;
    unsigned mask_;
    Quad indices_, deltas_, originals_, weights_;
};

// What decay pulls to 0.
template <bool usual>
__device__ inline float pulled_by(const Decay<usual> &decay, const speft_segment &segment, const SegmentQuad &quad,
                                  unsigned i) {
    return decay.is_of_weight() ? quad.weight(segment, i) : quad.delta(segment, i);
}

}  // namespace speft::cuda
