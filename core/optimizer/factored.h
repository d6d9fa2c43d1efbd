// What SM3 and Adafactor share: second moments as one number for each row and one for each column of a parameter,
// selected or not, which stay where masks move.
#pragma once

#include <cstdint>
#include <vector>

#include "core/optimizer/optimizer.h"

namespace speft {

class Factored : public Optimizer {
public:
    explicit Factored(const std::vector<Parameter> &parameters);

    std::vector<OptimizerState> state() const override;
    void *allocate_state(Device &device, const Masks &masks, const char *name, StateType type,
                         std::uint64_t count) override;
    std::uint64_t state_bytes(std::uint64_t) const override { return 0; }
    std::uint64_t table_bytes() const override { return (row_count_ + column_count_) * sizeof(float); }

protected:
    Factored(const Factored &before, Device &device, const Move &move);

    // Zeros for what is not there yet.
    void start(Device &device);
    // What the steps have in common; once started.
    speft_factored_segment segment_of(const Update &update, double gradient_scale) const;
    FactoredMoments moments_of(std::size_t parameter) const;
    // Of the sizes alone, for the scratch of a step.
    std::vector<speft_factored_segment> sizes_of(const std::vector<std::uint64_t> &counts) const;

private:
    // Where the numbers of one parameter are. Its columns are none where each row is one scalar.
    struct Place {
        std::uint64_t size = 0;  // of the parameter
        std::uint64_t columns = 1;
        std::uint64_t first_row = 0;
        std::uint64_t first_column = 0;

        std::uint64_t row_count() const { return size / columns; }
        std::uint64_t column_count() const { return columns > 1 ? columns : 0; }
    };

    std::vector<Place> places_;
    std::uint64_t row_count_ = 0;
    std::uint64_t column_count_ = 0;
    Buffer<float> rows_;
    Buffer<float> columns_;
};

}  // namespace speft
