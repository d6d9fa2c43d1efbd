// From the caller's option structs to the core's, nested ones included.
#pragma once

#include <vector>

#include "core/adapter/adapter.h"
#include "core/adapter/matrices.h"
#include "core/basis/basis_shape.h"
#include "core/optimizer/optimizer_options.h"
#include "core/selection/selection_options.h"
#include "speft/adapter.h"
#include "speft/basis.h"
#include "speft/linear.h"
#include "speft/optimizer.h"
#include "speft/selection.h"
#include "speft/training.h"

namespace speft {

AdapterOptions read_adapter_options(const speft_adapter_options *options);
std::vector<Parameter> read_parameters(const speft_parameter *const *parameters, std::int64_t count);
// `name`: of them, in messages.
BasisShape read_basis_options(const speft_basis_options *options, const char *name);
// NULL stays none.
ScoreFunction read_score_function(const speft_score_function *function);
StepOptions read_step_options(const speft_step_options *options);
// NULL: the defaults. How the weight of a layer enters the product that is asked for, and where that goes.
enum class Direction { forward, backward };
struct LinearOptions {
    Factor weight_is;
    Into into;
    bool delta_only;
};
LinearOptions read_linear_options(const speft_linear_options *options, Direction direction);
// NULL stays NULL; otherwise `copy` holds it.
const speft_progress *read_progress(const speft_progress *progress, speft_progress &copy);

}  // namespace speft
