// The selected scalars of one parameter: on the host, where truth is computed, and on a device.
#pragma once

#include <memory>

#include "tests/conformance/values.h"

namespace conformance {

struct HostSegment {
    bool masked;
    bool absolute;
    std::vector<std::uint32_t> indices;
    Tensor weights, originals;
    std::vector<float> deltas;

    std::uint64_t place(std::uint64_t j) const { return masked ? indices[j] : j; }

    // The weight that has to stand at the j-th place, as a tensor of one.
    Tensor merged(std::uint64_t j) const {
        Tensor merged(originals.type(), 1);
        if (absolute)
            merged.set(0, deltas[j]);
        else if (deltas[j] == 0.0f)
            merged.set_bits(0, originals.get_bits(j));
        else
            merged.set(0, rounded(originals.get(j) + deltas[j]));
        return merged;
    }

    void merge() {
        for (std::uint64_t j = 0; j < deltas.size(); ++j) weights.set_bits(place(j), merged(j).get_bits(0));
    }
};

// A parameter of `length` scalars, unmerged. A third of the deltas are zeros of either sign. With special values the
// originals have NaNs with payloads too.
inline HostSegment make_segment(std::uint64_t length, std::int32_t type, Values values, bool masked, bool absolute,
                                std::uint32_t seed) {
    Tensor weights(type, make_values(length, values, seed));
    if (values == Values::special)
        for (std::uint64_t i = 0; i < length; i += 3)
            weights.set_bits(i, type == SPEFT_SCALAR_FLOAT32 ? 0xff812345u : 0xffc5u);
    const std::vector<std::uint32_t> indices = make_mask(length, masked ? 3 : 1, seed + 1);
    std::vector<float> deltas = make_values(indices.size(), values, seed + 2);
    for (std::uint64_t j = 0; j < deltas.size(); j += 3) deltas[j] = j % 2 ? 0.0f : -0.0f;
    Tensor originals(type, indices.size());
    for (std::uint64_t j = 0; j < indices.size(); ++j) originals.set_bits(j, weights.get_bits(indices[j]));
    return {masked, absolute, indices, std::move(weights), std::move(originals), std::move(deltas)};
}

struct DeviceSegment {
    DeviceSegment(Device &device, const HostSegment &host)
        : indices(device, host.indices), weights(device, host.weights), originals(device, host.originals),
          deltas(device, host.deltas) {
        view = {.indices = host.masked ? indices.data() : nullptr,
                .count = host.deltas.size(),
                .weights = weights.data(),
                .originals = originals.data(),
                .deltas = deltas.data(),
                .weights_type = host.weights.type(),
                .absolute = host.absolute};
    }

    DeviceArray<std::uint32_t> indices;
    DeviceTensor weights, originals;
    DeviceArray<float> deltas;
    speft_segment view;
};

// Several parameters, and the list of them that an operation takes.
struct DeviceSegments {
    DeviceSegments(Device &device, const std::vector<HostSegment> &host) {
        for (const HostSegment &segment : host) {
            segments.push_back(std::make_unique<DeviceSegment>(device, segment));
            views.push_back(segments.back()->view);
        }
    }

    std::vector<std::unique_ptr<DeviceSegment>> segments;
    std::vector<speft_segment> views;
};

}  // namespace conformance
