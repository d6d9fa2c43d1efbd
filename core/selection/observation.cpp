#include "core/selection/observation.h"

#include <cmath>

#include "core/base/status.h"

namespace speft {
namespace {

void check_weight(double weight) {
    if (!(weight > 0) || !std::isfinite(weight))
        refuse("weight of an observation must be above 0 and finite; got " + std::to_string(weight));
}

}  // namespace

void Observation::begin(double weight) {
    check_weight(weight);
    if (open_) refuse_state("an observation is open: finish it before the next one begins");
    open_ = true;
    announced_ = weight;
}

// Only what is linear in the batch can be; of an announced weight.
bool Observation::adds_at_once(bool examples) const {
    if (announced_ == 0) return false;
    return statistic_ == Statistic::mean || statistic_ == Statistic::column_squares || examples;
}

float *Observation::open_sums(Device &device, Entry &entry, std::uint64_t count, bool at_once) {
    if (!entry.sums) entry.sums = Buffer<float>::zeros(device, count);
    if (at_once) return entry.sums.data();
    if (!entry.batch)
        entry.batch = Buffer<float>::zeros(device, count);
    else if (!entry.seen)
        device.zero(entry.batch.data(), count * sizeof(float));
    return entry.batch.data();
}

void Observation::add_columns(Device &device, Entry &entry, const Gradient &gradient) {
    const auto columns = static_cast<std::uint64_t>(gradient.x.shape[1]);
    const bool at_once = adds_at_once(false);
    speft_add_column_squares squares{};
    squares.sums = open_sums(device, entry, columns, at_once);
    squares.x = gradient.x.data;
    squares.tokens = static_cast<std::uint64_t>(gradient.x.shape[0]);
    squares.columns = columns;
    squares.x_type = static_cast<std::int32_t>(scalar_type_of(gradient.x, "x"));
    squares.weight = at_once ? static_cast<float>(announced_) : 1.0f;
    entry.layout = gradient.layout;
    device.run(squares);
}

void Observation::add_examples(Device &device, Entry &entry, const Gradient &gradient) {
    const auto in = static_cast<std::uint64_t>(gradient.x.shape[1]);
    const auto out = static_cast<std::uint64_t>(gradient.dy.shape[1]);
    const std::uint64_t examples = gradient.examples.size() - 1;
    const bool at_once = adds_at_once(true);
    speft_add_example_squares squares{};
    squares.sums = open_sums(device, entry, in * out, at_once);
    squares.x = gradient.x.data;
    squares.dy = gradient.dy.data;
    squares.offsets = gradient.examples.data();
    squares.examples = examples;
    squares.tokens = static_cast<std::uint64_t>(gradient.x.shape[0]);
    squares.in = in;
    squares.out = out;
    squares.x_type = static_cast<std::int32_t>(scalar_type_of(gradient.x, "x"));
    squares.dy_type = static_cast<std::int32_t>(scalar_type_of(gradient.dy, "dy"));
    squares.layout = gradient.layout;
    squares.scale = static_cast<float>(gradient.scale);
    squares.weight = static_cast<float>((at_once ? announced_ : 1.0) / static_cast<double>(examples));
    device.run(squares);
}

void Observation::add(Device &device, const Parameter &parameter, std::size_t index, const Gradient &gradient) {
    Entry &entry = entries_[index];
    if (parameter.role == Role::sparse && statistic_ != Statistic::none && parameter.size > 0) {
        const bool examples = !gradient.examples.empty();
        if (entry.seen && entry.squared != examples)
            refuse("gradient of '" + parameter.name +
                   "': all of one observation must have example_offsets, or none of it");
        if (entry.sums && statistic_ == Statistic::column_squares && entry.layout != gradient.layout)
            refuse("gradient of '" + parameter.name + "': layout must be that of the gradients before; got " +
                   std::to_string(gradient.layout));
        entry.squared = examples;
        if (statistic_ == Statistic::column_squares) {
            add_columns(device, entry, gradient);
        } else if (examples) {
            add_examples(device, entry, gradient);
        } else {
            const bool at_once = adds_at_once(false);
            float *const sums = open_sums(device, entry, parameter.size, at_once);
            add_gradient(device, {sums, nullptr, parameter.size}, gradient, at_once ? announced_ : 1.0);
        }
    }
    entry.seen = true;
    open_ = true;
}

void Observation::fold(Device &device, Entry &entry, double weight) const {
    speft_add_values fold{};
    fold.sums = entry.sums.data();
    fold.source = entry.batch.data();
    fold.count = entry.batch.count();
    fold.source_type = SPEFT_SCALAR_FLOAT32;
    fold.scale = fold.weight = 1;
    (statistic_ == Statistic::mean ? fold.scale : fold.weight) = static_cast<float>(weight);
    if (statistic_ == Statistic::mean_of_squares && !entry.squared) fold.map = SPEFT_MAP_SQUARE;
    if (statistic_ == Statistic::mean_of_absolutes) fold.map = SPEFT_MAP_ABSOLUTE;
    device.run(fold);
}

void Observation::finish(Device &device, const std::vector<Parameter> &parameters, double weight) {
    if (!open_) refuse_state("no observation is open: nothing was observed since the last one was finished");
    if (announced_ != 0 && weight != 0 && weight != announced_)
        refuse("weight must be the announced " + std::to_string(announced_) + "; got " + std::to_string(weight));
    if (announced_ == 0) check_weight(weight);
    const auto observed = [&](std::size_t index) {
        return statistic_ != Statistic::none && parameters[index].role == Role::sparse && parameters[index].size > 0;
    };
    for (std::size_t index = 0; index < entries_.size(); ++index)
        if (observed(index) && !entries_[index].seen)
            refuse_state("no gradient of '" + parameters[index].name + "' arrived in this observation");

    const double used = announced_ != 0 ? announced_ : weight;
    for (std::size_t index = 0; index < entries_.size(); ++index)
        if (observed(index) && !adds_at_once(entries_[index].squared)) fold(device, entries_[index], used);
    for (Entry &entry : entries_) entry.seen = entry.squared = false;
    open_ = false;
    announced_ = 0;
    total_weight_ += used;
    ++batches_;
}

}  // namespace speft
