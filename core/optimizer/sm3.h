// SM3 on the trained scalars.
#pragma once

#include <vector>

#include "core/optimizer/factored.h"

namespace speft {

class Sm3 : public Factored {
public:
    using Factored::Factored;

    std::uint64_t scratch_bytes(const Device &device, const std::vector<std::uint64_t> &counts) const override;
    std::unique_ptr<Optimizer> move(Device &device, const Move &move) const override;
    FactoredMoments factored_moments(std::size_t parameter) const override { return moments_of(parameter); }

protected:
    void apply(Device &device, const Masks &masks, const std::vector<Update> &updates,
               double gradient_scale) override;
};

}  // namespace speft
