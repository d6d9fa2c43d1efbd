// Adam's bias corrections 1/(1−β1^a) and 1/√(1−β2^a) by age, as tables on the device: computed in float64 and rounded
// once, so that every backend uses the same ones.
#pragma once

#include <cstdint>

#include "core/backend/buffer.h"

namespace speft {

class BiasCorrections {
public:
    BiasCorrections(double beta1, double beta2);

    bool is_for(double beta1, double beta2) const { return beta1_ == beta1 && beta2_ == beta2; }
    // Makes the tables long enough for `age`; beyond their last entry both corrections are 1 in float32. The first ones
    // are long enough for good with usual betas: a training run then allocates nothing more.
    void reach(Device &device, std::uint32_t age);
    // Bytes of the first tables.
    std::uint64_t first_bytes() const { return 2 * sizeof(float) * first_count(); }

    std::uint32_t count() const { return static_cast<std::uint32_t>(first_.count()); }
    const float *first() const { return first_.data(); }
    const float *second() const { return second_.data(); }

private:
    static constexpr std::uint64_t usual_count = 32768;  // β = 0.999 needs 17,330
    std::uint64_t first_count() const { return limit_ + 1 < usual_count ? limit_ + 1 : usual_count; }

    double beta1_;
    double beta2_;
    std::uint64_t limit_;  // the first age at which both corrections are 1
    Buffer<float> first_;
    Buffer<float> second_;
};

}  // namespace speft
