// The gradient of the trained scalars, as it adds up between steps.
#pragma once

#include <cstdint>
#include <vector>

#include "core/adapter/gradient.h"
#include "core/adapter/masks.h"
#include "core/backend/buffer.h"

namespace speft {

class Gradients {
public:
    Gradients() = default;
    explicit Gradients(std::size_t parameters) : states_(parameters) {}

    void add(Device &device, const Masks &masks, std::size_t parameter, const Gradient &gradient);
    // The same in two parts: all that may fail, and what then cannot. With Σg² of what it comes to.
    struct Sum {
        Buffer<float> values;
        double squares = 0;
    };
    Sum sum(Device &device, const Masks &masks, std::size_t parameter, const Gradient &gradient);
    void keep(Device &device, const Masks &masks, std::size_t parameter, const Sum &sum);
    // All of a parameter's values, from device memory.
    void put(Device &device, const Masks &masks, std::size_t parameter, const float *values);
    // The values of one parameter; zeros when nothing was added since the last clear.
    float *lend(Device &device, const Masks &masks, std::size_t parameter);
    void clear(std::size_t parameter) { states_[parameter].present = false; }

    // Of a checkpoint: that a gradient has arrived, and, unless `values` is NULL, what was added since the last clear.
    void restore(Device &device, const Masks &masks, std::size_t parameter, const float *values);

    // Whether anything was added since the last clear, and whether anything ever was.
    bool present(std::size_t parameter) const { return states_[parameter].present; }
    bool ever(std::size_t parameter) const { return states_[parameter].ever; }
    // Where the values of `parameter` lie; only when present.
    const float *values(const Masks &masks, std::size_t parameter) const {
        return values_.data() + masks.slots[parameter].offset;
    }

    // Σg² of one parameter; 0 when nothing is present.
    double squares(Device &device, const Masks &masks, std::size_t parameter) const;
    // That a gradient has arrived, as `before` knows it.
    void remember(const Gradients &before);
    // The 2-norm of all that is present, and its product with `factor`.
    double norm(Device &device, const Masks &masks) const;
    void scale(Device &device, const Masks &masks, float factor);

private:
    struct State {
        bool present = false;
        bool ever = false;
        bool zeros = false;  // the values are zeros: clearing is put off until someone looks
    };
    struct Arrays {
        std::vector<float *> values;
        std::vector<std::uint64_t> counts;
    };

    float *prepare(Device &device, const Masks &masks, std::size_t parameter);
    Arrays present_arrays(const Masks &masks) const;

    std::vector<State> states_;
    Buffer<float> values_;  // [trained], from the first use on
};

}  // namespace speft
