// One moment, or velocity, of each trained scalar, in any of the types of SPEFT_STATE_….
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/optimizer/optimizer.h"

namespace speft {

class Moments {
public:
    struct Kind {
        const char *name;         // "moment1"; part of the file format
        const char *scales_name;  // of the blocks' scales, where there are some
        bool is_signed;
        std::uint32_t number;  // another one for each moment of an optimizer: it rounds with draws of its own
    };

    // Nothing yet, as at first.
    Moments(Kind kind, std::int32_t type) : kind_(kind), type_(type) {}

    static std::uint64_t bytes(std::int32_t type, std::uint64_t count);

    // Zeros for what is not there yet.
    void start(Device &device, const Masks &masks);
    // As a step takes them; once started. `rounding_key`: the step's for this parameter.
    speft_moments of(const Masks &masks, std::size_t parameter, std::uint32_t rounding_key) const;

    // For Optimizer::state and allocate_state.
    void list(std::vector<OptimizerState> &state) const;
    void *allocate(Device &device, const Masks &masks, const char *name, StateType type, std::uint64_t count);

    // BLOCKS8 is rounded once more where masks move, since other scalars share its blocks then.
    Moments moved(Device &device, const Move &move, const std::vector<Fate> &fates) const;
    // factor·values[positions[j]] in place of the j-th of a parameter, where there is a position. [count] values; once
    // started.
    void put(Device &device, const Masks &masks, std::size_t parameter, const float *values, std::uint64_t count,
             float factor, const std::uint32_t *positions, std::uint32_t rounding_key);

private:
    std::uint64_t value_bytes() const;
    void start_values(Device &device, const Masks &masks);
    void start_scales(Device &device, const Masks &masks);

    Kind kind_;
    std::int32_t type_;
    Buffer<std::byte> values_;  // [trained] of the type
    Buffer<float> scales_;      // each parameter begins a block
    std::vector<std::uint64_t> first_scales_;
};

}  // namespace speft
