// Division by a number that is known before the launch: a multiplication and shifts.
#pragma once

#include <cstdint>

#include "core/base/scalar.h"

namespace speft::cuda {

// Of any 32-bit number by any other but 0, exactly (Granlund and Montgomery, "Division by invariant integers using
// multiplication", figure 4.1).
class Divider {
public:
    Divider() = default;
    explicit Divider(std::uint32_t divisor) : divisor_(divisor) {
        unsigned bits = 0;  // of the least power of two that is not less
        while ((std::uint64_t{1} << bits) < divisor) ++bits;
        factor_ = static_cast<std::uint32_t>(
            (std::uint64_t{1} << 32) * ((std::uint64_t{1} << bits) - divisor) / divisor + 1);
        first_shift_ = bits > 0;
        second_shift_ = bits > 0 ? bits - 1 : 0;
    }

    SPEFT_HOST_DEVICE std::uint32_t operator()(std::uint32_t number) const {
        const auto high = static_cast<std::uint32_t>(std::uint64_t{factor_} * number >> 32);
        return (high + ((number - high) >> first_shift_)) >> second_shift_;
    }
    SPEFT_HOST_DEVICE std::uint32_t divisor() const { return divisor_; }

private:
    std::uint32_t divisor_ = 1, factor_ = 1, first_shift_ = 0, second_shift_ = 0;
};

}  // namespace speft::cuda
