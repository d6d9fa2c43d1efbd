// The selected scalars of one parameter: on the host, where truth is computed, and on a device.
#pragma once

#include <memory>

#include "tests/conformance/values.h"

namespace conformance {

// `compact`: float32 ones, with weights of the selected scalars alone.
enum class Deltas { float32, bfloat16, absolute, compact };
inline const std::vector<Deltas> kinds_of_deltas = {Deltas::float32, Deltas::bfloat16, Deltas::absolute,
                                                    Deltas::compact};

inline std::ostream &operator<<(std::ostream &out, Deltas deltas) {
    constexpr const char *names[] = {"float32 deltas", "bfloat16 deltas", "absolute values", "compact weights"};
    return out << names[static_cast<int>(deltas)];
}

// core/base/random.h's draw_bits, as it is defined there.
inline std::uint32_t draw_sixteen_bits(std::uint32_t key, std::uint32_t counter) {
    std::uint32_t z = key ^ (counter * 0x9e3779b9u);
    z = (z ^ (z >> 16)) * 0x7feb352du;
    z = (z ^ (z >> 15)) * 0x846ca68bu;
    return (z ^ (z >> 16)) >> 16;
}

struct HostSegment {
    bool masked;
    bool absolute;
    bool compact;
    std::uint32_t rounding_key;
    std::vector<std::uint32_t> indices;
    Tensor weights, originals, deltas;

    std::uint64_t count() const { return deltas.size(); }
    std::uint64_t index(std::uint64_t j) const { return masked ? indices[j] : j; }
    std::uint64_t place(std::uint64_t j) const { return compact ? j : index(j); }

    // The weight that has to stand at the j-th place, as a tensor of one.
    Tensor merged(std::uint64_t j) const {
        Tensor merged(originals.type(), 1);
        if (absolute)
            merged.set(0, deltas.get(j));
        else if (deltas.get(j) == 0.0f)
            merged.set_bits(0, originals.get_bits(j));
        else
            merged.set(0, rounded(originals.get(j) + deltas.get(j)));
        return merged;
    }

    void merge() {
        for (std::uint64_t j = 0; j < count(); ++j) weights.set_bits(place(j), merged(j).get_bits(0));
    }

    // As a step does: bfloat16 takes the neighbour away from zero as often as the rest of the bits is large.
    void update_delta(std::uint64_t j, float value) {
        const std::uint32_t bits = speft::bit_copy<std::uint32_t>(value);
        if (deltas.type() == SPEFT_SCALAR_FLOAT32 || !std::isfinite(value)) return deltas.set(j, value);
        const bool away = (bits & 0xffffu) + draw_sixteen_bits(rounding_key, static_cast<std::uint32_t>(j)) > 0xffffu;
        deltas.set_bits(j, (bits >> 16) + away);
    }
};

// A parameter of `length` scalars, unmerged. A third of the deltas are zeros of either sign. With special values the
// originals have NaNs with payloads too.
inline HostSegment make_segment(std::uint64_t length, std::int32_t type, Values values, bool masked, Deltas deltas,
                                std::uint32_t seed) {
    Tensor weights(type, make_values(length, values, seed));
    if (values == Values::special)
        for (std::uint64_t i = 0; i < length; i += 3)
            weights.set_bits(i, type == SPEFT_SCALAR_FLOAT32 ? 0xff812345u : 0xffc5u);
    const std::vector<std::uint32_t> indices = make_mask(length, masked ? 3 : 1, seed + 1);
    Tensor added(deltas == Deltas::bfloat16 ? SPEFT_SCALAR_BFLOAT16 : SPEFT_SCALAR_FLOAT32,
                 make_values(indices.size(), values, seed + 2));
    for (std::uint64_t j = 0; j < indices.size(); j += 3) added.set(j, j % 2 ? 0.0f : -0.0f);
    Tensor originals(type, indices.size());
    for (std::uint64_t j = 0; j < indices.size(); ++j) originals.set_bits(j, weights.get_bits(indices[j]));
    if (deltas == Deltas::compact) weights = originals;
    return {.masked = masked,
            .absolute = deltas == Deltas::absolute,
            .compact = deltas == Deltas::compact,
            .rounding_key = 0x5eed0000u + seed,
            .indices = indices,
            .weights = std::move(weights),
            .originals = std::move(originals),
            .deltas = std::move(added)};
}

struct DeviceSegment {
    DeviceSegment(Device &device, const HostSegment &host)
        : indices(device, host.indices), weights(device, host.weights), originals(device, host.originals),
          deltas(device, host.deltas) {
        view = {.indices = host.masked ? indices.data() : nullptr,
                .count = host.count(),
                .weights = weights.data(),
                .originals = originals.data(),
                .deltas = deltas.data(),
                .weights_type = host.weights.type(),
                .deltas_type = host.deltas.type(),
                .absolute = host.absolute,
                .rounding_key = host.rounding_key,
                .compact = host.compact,
                .reserved = 0};
    }

    DeviceArray<std::uint32_t> indices;
    DeviceTensor weights, originals, deltas;
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
