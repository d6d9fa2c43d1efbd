#include "core/optimizer/optimizer.h"

#include <algorithm>

#include "core/optimizer/adamw.h"
#include "core/optimizer/sgd.h"

namespace speft {

void Optimizer::copy_ages(Device &, const Masks &masks, std::size_t parameter, std::int64_t *ages) const {
    std::fill_n(ages, masks.slots[parameter].count, std::int64_t{updates_[parameter]});
}

std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions &options, const std::vector<Parameter> &parameters) {
    if (options.kind == SPEFT_OPTIMIZER_SGD) return std::make_unique<Sgd>(parameters.size());
    return std::make_unique<AdamW>(options, parameters.size());
}

}  // namespace speft
