// What the batches before a selection add up to, in float32: one accumulator a sparse parameter; a second one for
// batches whose weight is told only at their end, and where a batch's gradient must be whole before it is added.
#pragma once

#include <cstdint>
#include <vector>

#include "core/adapter/gradient.h"
#include "core/adapter/parameter.h"
#include "core/backend/buffer.h"
#include "core/selection/selection_options.h"

namespace speft {

class Observation {
public:
    Observation(std::size_t parameters, Statistic statistic) : entries_(parameters), statistic_(statistic) {}

    void begin(double weight);
    // The gradient has been checked against the parameter.
    void add(Device &device, const Parameter &parameter, std::size_t index, const Gradient &gradient);
    // `weight` 0: the announced one.
    void finish(Device &device, const std::vector<Parameter> &parameters, double weight);

    bool open() const { return open_; }
    std::int64_t batches() const { return batches_; }
    double total_weight() const { return total_weight_; }
    // Of the closed batches; NULL for a parameter of size 0. [size], or of column_squares one for each input feature.
    const float *sums(std::size_t index) const { return entries_[index].sums.data(); }
    // How the weight lies whose input features column_squares are of.
    std::int32_t layout(std::size_t index) const { return entries_[index].layout; }

private:
    struct Entry {
        Buffer<float> sums;    // of the closed batches, and of the open one where it can be added at once
        Buffer<float> batch;   // of the open batch, where it cannot
        bool seen = false;     // in the open batch
        bool squared = false;  // the open batch is of squares of examples already
        std::int32_t layout = SPEFT_LAYOUT_OUT_IN;
    };

    bool adds_at_once(bool examples) const;
    void add_columns(Device &device, Entry &entry, const Gradient &gradient);
    void add_examples(Device &device, Entry &entry, const Gradient &gradient);
    // Where the open batch is added.
    float *open_sums(Device &device, Entry &entry, std::uint64_t count, bool at_once);
    void fold(Device &device, Entry &entry, double weight) const;

    std::vector<Entry> entries_;
    Statistic statistic_;
    bool open_ = false;
    double announced_ = 0;  // 0: not
    double total_weight_ = 0;
    std::int64_t batches_ = 0;
};

}  // namespace speft
