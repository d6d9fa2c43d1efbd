// Adafactor on the trained scalars, with factored second moments.
#pragma once

#include <vector>

#include "core/optimizer/factored.h"

namespace speft {

class Adafactor : public Factored {
public:
    using Factored::Factored;

    std::uint64_t scratch_bytes(const Device &device, const std::vector<std::uint64_t> &counts) const override;
    std::unique_ptr<Optimizer> move(Device &device, const Move &move) const override;

protected:
    void apply(Device &device, const Masks &masks, const std::vector<Update> &updates,
               double gradient_scale) override;
};

}  // namespace speft
