#include "core/optimizer/sm3.h"

namespace speft {

std::unique_ptr<Optimizer> Sm3::move(Device &device, const Move &move) const {
    return std::unique_ptr<Optimizer>(new Sm3(*this, device, move));
}

void Sm3::apply(Device &device, const Masks &, const std::vector<Update> &updates, double gradient_scale) {
    start(device);
    std::vector<speft_factored_segment> segments;
    for (const Update &update : updates) segments.push_back(segment_of(update, gradient_scale));
    device.run(speft_step_sm3{segments.data(), segments.size()});
}

}  // namespace speft
