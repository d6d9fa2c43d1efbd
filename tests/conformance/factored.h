// Steps of optimizers that keep one number a row and one a column: on the host, and on a device.
#pragma once

#include "tests/conformance/moments.h"
#include "tests/conformance/steps.h"

namespace conformance {

struct Matrix {
    std::uint64_t rows, columns;
    friend std::ostream &operator<<(std::ostream &out, const Matrix &matrix) {
        return out << matrix.rows << " x " << matrix.columns;
    }
};

inline const std::vector<Matrix> matrices = {{0, 5},   {1, 1},    {1, 9},     {9, 1},   {7, 3},
                                             {64, 64}, {4097, 1}, {1, 16385}, {2, 5000}, {350, 200}};

struct FactoredVariant {
    bool masked;
    Deltas deltas;
    std::int32_t decay_kind;
    friend std::ostream &operator<<(std::ostream &out, const FactoredVariant &variant) {
        return out << (variant.masked ? "masked, " : "whole, ") << variant.deltas << ", decay "
                   << name_of_decay(variant.decay_kind);
    }
};

inline const std::vector<FactoredVariant> factored_variants = {
    {true, Deltas::float32, SPEFT_DECAY_TO_ORIGINAL},   {true, Deltas::float32, SPEFT_DECAY_TO_ZERO},
    {true, Deltas::bfloat16, SPEFT_DECAY_AFTER_UPDATE}, {false, Deltas::absolute, SPEFT_DECAY_TO_ZERO},
    {false, Deltas::float32, SPEFT_DECAY_TO_ZERO},      {true, Deltas::compact, SPEFT_DECAY_TO_ZERO},
};

// One parameter's part of a step, with its state.
struct FactoredStep {
    HostSegment segment;
    std::uint64_t size, columns;
    std::vector<float> gradient{}, rows{}, columns_state{};
    std::int32_t decay_kind = SPEFT_DECAY_TO_ORIGINAL;
    float learning_rate = 0.03f, decay = 0.01f, gradient_scale = 0.7f;
    float beta2 = 0.6f, one_minus_beta2 = 0.4f, epsilon = 1e-30f, clip = 1;
};

inline FactoredStep make_factored_step(Matrix matrix, std::int32_t type, Values values, FactoredVariant variant,
                                       std::uint32_t seed) {
    const std::uint64_t size = matrix.rows * matrix.columns;
    FactoredStep step{.segment = make_segment(size, type, values, variant.masked, variant.deltas, seed),
                      .size = size,
                      .columns = matrix.columns};
    step.segment.merge();
    step.gradient = make_values(step.segment.count(), values, seed + 3);
    step.rows = make_values(matrix.rows, Values::ordinary, seed + 4);
    if (matrix.columns > 1) step.columns_state = make_values(matrix.columns, Values::ordinary, seed + 5);
    for (float &sum : step.rows) sum *= sum;
    for (float &sum : step.columns_state) sum *= sum;
    step.decay_kind = variant.decay_kind;
    return step;
}

inline std::vector<FactoredStep> make_several_steps() {
    std::vector<FactoredStep> steps;
    for (const FactoredVariant variant : factored_variants)
        for (const std::int32_t type : scalar_types) {
            const auto seed = static_cast<std::uint32_t>(steps.size());
            steps.push_back(make_factored_step({seed % 4 == 1 ? 0 : 13 * seed + 1, seed % 3 == 2 ? 1 : 5 * seed + 2},
                                               type, Values::ordinary, variant, seed));
            steps.back().learning_rate = 1e-2f * static_cast<float>(seed);
        }
    return steps;
}

struct PlacedFactoredStep : PlacedStep {
    PlacedFactoredStep(Device &device, const FactoredStep &step)
        : PlacedStep(device, step), rows(device, step.rows), columns(device, step.columns_state) {}

    speft_factored_segment view(const FactoredStep &step) const {
        return {.segment = segment.view,
                .gradient = gradient.data(),
                .rows = rows.data(),
                .columns_state = step.columns > 1 ? columns.data() : nullptr,
                .size = step.size,
                .columns = step.columns,
                .decay_kind = step.decay_kind,
                .learning_rate = step.learning_rate,
                .decay = step.decay,
                .gradient_scale = step.gradient_scale,
                .beta2 = step.beta2,
                .one_minus_beta2 = step.one_minus_beta2,
                .epsilon = step.epsilon,
                .clip = step.clip};
    }

    void read(FactoredStep &step) const {
        PlacedStep::read(step);
        step.rows = rows.read();
        step.columns_state = columns.read();
    }

    DeviceArray<float> rows, columns;
};

}  // namespace conformance
