// Steps of any optimizer: several parameters at once on a device, against what the host computes.
//
// A kind of step has a type for one parameter's part on the host, with at least a `segment` and a `gradient`, and one
// for the same on a device, derived from PlacedStep, with
//
//     Placed(Device &, const Step &)
//     the operation's segment   view(const Step &) const
//     void                      read(Step &) const       everything that an update may have changed
//
// `advance` is one update on the host, `check_state` compares what the optimizer keeps.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "tests/conformance/segments.h"

namespace conformance {

struct PlacedStep {
    template <class Step>
    PlacedStep(Device &device, const Step &step) : segment(device, step.segment), gradient(device, step.gradient) {}

    template <class Step>
    void read(Step &step) const {
        step.segment.weights = segment.weights.read();
        step.segment.originals = segment.originals.read();
        step.segment.deltas = segment.deltas.read();
        step.gradient = gradient.read();
    }

    DeviceSegment segment;
    DeviceArray<float> gradient;
};

// What the steps have become; none where the implementation does not take them.
template <class Operation, class Placed, class Step>
std::optional<std::vector<Step>> run_steps(const Subject &subject, const Settings &settings, std::vector<Step> steps,
                                           int updates) {
    Device device(*subject.table, settings);
    std::vector<std::unique_ptr<Placed>> placed;
    std::vector<decltype(placed[0]->view(steps[0]))> segments;
    for (const Step &step : steps) {
        placed.push_back(std::make_unique<Placed>(device, step));
        segments.push_back(placed.back()->view(step));
    }
    const Operation arguments = {.segments = segments.data(), .count = segments.size()};
    for (int update = 0; update < updates; ++update)
        if (!device.run(subject, &arguments)) return {};
    for (std::uint64_t s = 0; s < steps.size(); ++s) placed[s]->read(steps[s]);
    return steps;
}

template <class Step, class Advance, class CheckState>
void check_steps(const std::optional<std::vector<Step>> &actual, std::vector<Step> steps, int updates,
                 Advance &&advance, CheckState &&check_state) {
    if (!actual) return;
    for (std::uint64_t s = 0; s < steps.size(); ++s) {
        for (int update = 0; update < updates; ++update) advance(steps[s]);
        check_same((*actual)[s].segment.deltas, steps[s].segment.deltas);
        check_same((*actual)[s].segment.weights, steps[s].segment.weights);
        check_state((*actual)[s], steps[s]);
        BOOST_TEST(((*actual)[s].segment.originals == steps[s].segment.originals));
        check_same((*actual)[s].gradient, steps[s].gradient);
    }
}

}  // namespace conformance
