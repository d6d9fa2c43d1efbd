// The mean gradient over the batches before a selection: Σ w g / Σ w, in float32, one accumulator a sparse parameter;
// a second one for batches whose weight is told only at their end.
#pragma once

#include <cstdint>
#include <vector>

#include "core/adapter/gradient.h"
#include "core/adapter/parameter.h"
#include "core/backend/buffer.h"

namespace speft {

class Observation {
public:
    // `keep`: whether the method needs the gradients; else they are checked, counted and dropped.
    Observation(std::size_t parameters, bool keep) : entries_(parameters), keep_(keep) {}

    void begin(double weight);
    void add(Device &device, const Parameter &parameter, std::size_t index, const Gradient &gradient);
    // `weight` 0: the announced one.
    void finish(Device &device, const std::vector<Parameter> &parameters, double weight);

    bool open() const { return open_; }
    std::int64_t batches() const { return batches_; }
    double total_weight() const { return total_weight_; }
    // Σ w g over the closed batches, [size]; NULL for a parameter of size 0.
    const float *sums(std::size_t index) const { return entries_[index].sums.data(); }

private:
    struct Entry {
        Buffer<float> sums;   // Σ w g
        Buffer<float> batch;  // g of the open batch, while its weight is not known
        bool seen = false;    // in the open batch
    };

    std::vector<Entry> entries_;
    bool keep_;
    bool open_ = false;
    double announced_ = 0;  // 0: not
    double total_weight_ = 0;
    std::int64_t batches_ = 0;
};

}  // namespace speft
