#include "core/optimizer/optimizer.h"

#include <algorithm>

#include "core/optimizer/adafactor.h"
#include "core/optimizer/adamw.h"
#include "core/optimizer/lion.h"
#include "core/optimizer/sgd.h"
#include "core/optimizer/sm3.h"

namespace speft {

Optimizer::Optimizer(const std::vector<Parameter> &parameters) : updates_(parameters.size()) {
    for (const Parameter &parameter : parameters) sparse_.push_back(parameter.role == Role::sparse);
}

Optimizer::Optimizer(const Optimizer &before, const Move &move)
    : sparse_(before.sparse_), updates_(before.updates_) {
    const std::vector<Fate> fates = fates_of(move);
    for (std::size_t parameter = 0; parameter < fates.size(); ++parameter)
        if (fates[parameter] == Fate::restarts) updates_[parameter] = 0;
}

std::vector<Fate> Optimizer::fates_of(const Move &move) const {
    std::vector<Fate> fates;
    for (std::size_t parameter = 0; parameter < sparse_.size(); ++parameter) {
        if (!sparse_[parameter])
            fates.push_back(Fate::stays);
        else if (move.afresh)
            fates.push_back(Fate::restarts);
        else
            fates.push_back(move.positions[parameter] ? Fate::moves : Fate::stays);
    }
    return fates;
}

void Optimizer::copy_ages(Device &, const Masks &masks, std::size_t parameter, std::int64_t *ages) const {
    std::fill_n(ages, masks.slots[parameter].count, std::int64_t{updates_[parameter]});
}

std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions &options, const std::vector<Parameter> &parameters) {
    switch (options.kind) {
    case SPEFT_OPTIMIZER_SGD: return std::make_unique<Sgd>(options, parameters);
    case SPEFT_OPTIMIZER_SM3: return std::make_unique<Sm3>(parameters);
    case SPEFT_OPTIMIZER_LION: return std::make_unique<Lion>(options, parameters);
    case SPEFT_OPTIMIZER_ADAFACTOR: return std::make_unique<Adafactor>(parameters);
    default: return std::make_unique<AdamW>(options, parameters);
    }
}

}  // namespace speft
