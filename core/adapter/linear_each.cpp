// Rows are put in the order of their adapters, so that each delta is one product over adjacent rows, however the batch
// is mixed. The products go to memory of our own, which is copied to the outputs when all have been made.
#include "core/adapter/linear_each.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "core/base/status.h"

namespace speft {
namespace {

void check(std::span<const AdapterLayer> layers, std::span<const std::int64_t> choice, const TensorView &inputs,
           bool delta_only) {
    if (layers.empty()) refuse("adapters: at least one is needed");
    const AdapterLayer &first = layers.front();
    const auto name_of = [](const AdapterLayer &layer) {
        return "'" + layer.adapter->parameters()[layer.parameter].name + "'";
    };
    for (std::size_t at = 1; at < layers.size(); ++at)
        if (!delta_only && layers[at].adapter->weights(layers[at].parameter).memory() !=
                               first.adapter->weights(first.parameter).memory())
            refuse("adapters: " + name_of(layers[at]) + " of adapter " + std::to_string(at) + " and " +
                   name_of(first) + " of adapter 0 are not bound to the same weights");
    if (choice.size() != static_cast<std::size_t>(inputs.shape[0]))
        refuse("choice must have " + std::to_string(inputs.shape[0]) + " elements, one for each row; got " +
               std::to_string(choice.size()));
    for (std::size_t row = 0; row < choice.size(); ++row)
        if (choice[row] < -1 || choice[row] >= static_cast<std::int64_t>(layers.size()))
            refuse("choice must be between -1 and " + std::to_string(layers.size() - 1) + "; got " +
                   std::to_string(choice[row]) + " for row " + std::to_string(row));
}

Buffer<std::uint32_t> to_device(Device &device, const std::vector<std::uint32_t> &values) {
    Buffer<std::uint32_t> buffer(device, values.size());
    device.copy_to_device(buffer.data(), values.data(), values.size() * sizeof(std::uint32_t));
    return buffer;
}

std::uint64_t row_bytes(const TensorView &matrix) {
    return static_cast<std::uint64_t>(matrix.shape[1]) * (matrix.dtype.bits / 8u);
}

// A matrix of the same kind in other memory.
TensorView moved(TensorView matrix, std::byte *data) {
    matrix.data = data;
    return matrix;
}

TensorView rows_of(const TensorView &matrix, std::size_t begin, std::size_t end) {
    TensorView rows = matrix;
    rows.data = static_cast<std::byte *>(matrix.data) + begin * row_bytes(matrix);
    rows.shape[0] = static_cast<std::int64_t>(end - begin);
    rows.size = (end - begin) * static_cast<std::uint64_t>(matrix.shape[1]);
    return rows;
}

}  // namespace

void apply_each(std::span<const AdapterLayer> layers, std::span<const std::int64_t> choice, Factor weight_is,
                const TensorView &inputs, const TensorView &outputs, bool delta_only, Into into) {
    for (const AdapterLayer &layer : layers)
        layer.adapter->check_apply(layer.parameter, weight_is, inputs, outputs, delta_only);
    check(layers, choice, inputs, delta_only);
    if (outputs.size == 0) return;
    Device &device = layers.front().adapter->context().device();

    std::vector<std::uint32_t> order(choice.size()), place(choice.size());
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return choice[a] < choice[b]; });
    for (std::uint32_t at = 0; at < order.size(); ++at) place[order[at]] = at;
    const Buffer<std::uint32_t> rows_in_order = to_device(device, order), places = to_device(device, place);
    const Buffer<std::byte> ordered_inputs(device, order.size() * row_bytes(inputs));
    const Buffer<std::byte> ordered_outputs = Buffer<std::byte>::zeros(device, order.size() * row_bytes(outputs));
    const TensorView from = moved(inputs, ordered_inputs.data()), to = moved(outputs, ordered_outputs.data());
    take(device, from.data, inputs.data, rows_in_order.data(), order.size(), row_bytes(inputs));
    if (into == Into::add) take(device, to.data, outputs.data, rows_in_order.data(), order.size(), row_bytes(outputs));

    if (!delta_only)
        layers.front().adapter->apply_weight(layers.front().parameter, weight_is, from, to, into);
    for (std::size_t begin = 0; begin < order.size();) {
        const std::int64_t chosen = choice[order[begin]];
        std::size_t end = begin;
        while (end < order.size() && choice[order[end]] == chosen) ++end;
        if (chosen >= 0) {
            const AdapterLayer &layer = layers[static_cast<std::size_t>(chosen)];
            layer.adapter->apply(layer.parameter, weight_is, rows_of(from, begin, end), rows_of(to, begin, end), true,
                                 Into::add);
        }
        begin = end;
    }
    take(device, outputs.data, to.data, places.data(), order.size(), row_bytes(outputs));
}

}  // namespace speft
