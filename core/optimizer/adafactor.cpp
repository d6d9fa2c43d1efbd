#include "core/optimizer/adafactor.h"

#include <cmath>

namespace speft {

std::unique_ptr<Optimizer> Adafactor::move(Device &device, const Move &move) const {
    return std::unique_ptr<Optimizer>(new Adafactor(*this, device, move));
}

std::uint64_t Adafactor::scratch_bytes(const Device &device, const std::vector<std::uint64_t> &counts) const {
    const std::vector<speft_factored_segment> segments = sizes_of(counts);
    return device.scratch_bytes(speft_step_adafactor{segments.data(), segments.size()});
}

void Adafactor::apply(Device &device, const Masks &, const std::vector<Update> &updates, double gradient_scale) {
    start(device);
    std::vector<speft_factored_segment> segments;
    for (const Update &update : updates) {
        const double one_minus_beta2 = std::pow(this->updates()[update.parameter] + 1.0, -0.8);
        speft_factored_segment segment = segment_of(update, gradient_scale);
        segment.beta2 = static_cast<float>(1 - one_minus_beta2);
        segment.one_minus_beta2 = static_cast<float>(one_minus_beta2);
        segment.epsilon = 1e-30f;
        segment.clip = 1;
        segments.push_back(segment);
    }
    device.run(speft_step_adafactor{segments.data(), segments.size()});
}

}  // namespace speft
