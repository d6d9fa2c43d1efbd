#include "core/optimizer/bias_corrections.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace speft {
namespace {

// 1/(1−β^a) and 1/√(1−β^a) round to 1 in float32 once β^a is below 2^-25.
std::uint64_t age_of_no_correction(double beta) {
    return beta == 0 ? 1 : static_cast<std::uint64_t>(std::ceil(25 * std::log(2.0) / -std::log(beta))) + 1;
}

}  // namespace

BiasCorrections::BiasCorrections(double beta1, double beta2)
    : beta1_(beta1), beta2_(beta2), limit_(std::max(age_of_no_correction(beta1), age_of_no_correction(beta2))) {}

void BiasCorrections::reach(Device &device, std::uint32_t age) {
    const std::uint64_t needed = std::min<std::uint64_t>(age, limit_) + 1;
    if (first_.count() >= needed) return;
    const std::uint64_t count = std::min(std::max(first_count(), 2 * needed), limit_ + 1);
    std::vector<float> first(count), second(count);
    for (std::uint64_t at = 1; at < count; ++at) {
        first[at] = static_cast<float>(1 / (1 - std::pow(beta1_, static_cast<double>(at))));
        second[at] = static_cast<float>(1 / std::sqrt(1 - std::pow(beta2_, static_cast<double>(at))));
    }
    Buffer<float> new_first(device, count), new_second(device, count);
    device.copy_to_device(new_first.data(), first.data(), count * sizeof(float));
    device.copy_to_device(new_second.data(), second.data(), count * sizeof(float));
    first_ = std::move(new_first);
    second_ = std::move(new_second);
}

}  // namespace speft
