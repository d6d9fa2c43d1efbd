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

void Observation::add(Device &device, const Parameter &parameter, std::size_t index, const Gradient &gradient) {
    Entry &entry = entries_[index];
    if (parameter.role == Role::sparse && keep_) {
        if (!entry.sums) entry.sums = Buffer<float>::zeros(device, parameter.size);
        if (announced_ != 0) {
            add_gradient(device, {entry.sums.data(), nullptr, parameter.size}, gradient, announced_);
        } else {
            if (!entry.batch)
                entry.batch = Buffer<float>::zeros(device, parameter.size);
            else if (!entry.seen)
                device.zero(entry.batch.data(), parameter.size * sizeof(float));
            add_gradient(device, {entry.batch.data(), nullptr, parameter.size}, gradient, 1.0);
        }
    }
    entry.seen = true;
    open_ = true;
}

void Observation::finish(Device &device, const std::vector<Parameter> &parameters, double weight) {
    if (!open_) refuse_state("no observation is open: nothing was observed since the last one was finished");
    if (announced_ != 0 && weight != 0 && weight != announced_)
        refuse("weight must be the announced " + std::to_string(announced_) + "; got " + std::to_string(weight));
    if (announced_ == 0) check_weight(weight);
    if (keep_)
        for (std::size_t index = 0; index < entries_.size(); ++index)
            if (parameters[index].role == Role::sparse && parameters[index].size > 0 && !entries_[index].seen)
                refuse_state("no gradient of '" + parameters[index].name + "' arrived in this observation");

    const double used = announced_ != 0 ? announced_ : weight;
    if (announced_ == 0 && keep_) {
        for (std::size_t index = 0; index < entries_.size(); ++index) {
            if (parameters[index].role != Role::sparse || parameters[index].size == 0) continue;
            speft_add_values fold{};
            fold.sums = entries_[index].sums.data();
            fold.source = entries_[index].batch.data();
            fold.count = parameters[index].size;
            fold.source_type = SPEFT_SCALAR_FLOAT32;
            fold.scale = static_cast<float>(used);
            fold.weight = 1;
            device.run(fold);
        }
    }
    for (Entry &entry : entries_) entry.seen = false;
    open_ = false;
    announced_ = 0;
    total_weight_ += used;
    ++batches_;
}

}  // namespace speft
