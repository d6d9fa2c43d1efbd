#include "core/optimizer/sm3.h"

namespace speft {

std::unique_ptr<Optimizer> Sm3::move(Device &device, const Move &move) const {
    return std::unique_ptr<Optimizer>(new Sm3(*this, device, move));
}

std::uint64_t Sm3::scratch_bytes(const Device &device, const std::vector<std::uint64_t> &counts) const {
    const std::vector<speft_factored_segment> segments = sizes_of(counts);
    return device.scratch_bytes(speft_step_sm3{segments.data(), segments.size()});
}

void Sm3::apply(Device &device, const Masks &, const std::vector<Update> &updates, double gradient_scale) {
    start(device);
    std::vector<speft_factored_segment> segments;
    for (const Update &update : updates) segments.push_back(segment_of(update, gradient_scale));
    device.run(speft_step_sm3{segments.data(), segments.size()});
}

}  // namespace speft
