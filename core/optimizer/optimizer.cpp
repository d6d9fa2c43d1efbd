#include "core/optimizer/optimizer.h"

#include "core/optimizer/adamw.h"
#include "core/optimizer/sgd.h"

namespace speft {

std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions &options, std::size_t parameters) {
    if (options.kind == SPEFT_OPTIMIZER_SGD) return std::make_unique<Sgd>(parameters);
    return std::make_unique<AdamW>(options, parameters);
}

}  // namespace speft
