#include "core/selection/scores.h"

#include <algorithm>
#include <string>

#include "core/base/status.h"
#include "core/selection/method_name.h"

namespace speft {
namespace {

std::int32_t formula_of(std::int32_t method) {
    switch (method) {
    case SPEFT_SELECT_MAGNITUDE: return SPEFT_SCORE_ABS_WEIGHT;
    case SPEFT_SELECT_SMALLEST_MAGNITUDE: return SPEFT_SCORE_NEGATIVE_ABS_WEIGHT;
    case SPEFT_SELECT_SPARSEGRAD:
    case SPEFT_SELECT_MEPROP:
    case SPEFT_SELECT_GRADIENT: return SPEFT_SCORE_ABS_GRADIENT;
    case SPEFT_SELECT_SNIP:
    case SPEFT_SELECT_TAYLOR_FO:
    case SPEFT_SELECT_SYNFLOW: return SPEFT_SCORE_ABS_PRODUCT;
    case SPEFT_SELECT_FORCE:
    case SPEFT_SELECT_GRASP: return SPEFT_SCORE_NEGATIVE_PRODUCT;
    case SPEFT_SELECT_GRASP_CODE: return SPEFT_SCORE_PRODUCT;
    case SPEFT_SELECT_WEIGHT_CHANGE: return SPEFT_SCORE_ABS_DIFFERENCE;
    case SPEFT_SELECT_LOW_RANK: return SPEFT_SCORE_LOW_RANK;
    case SPEFT_SELECT_WANDA: return SPEFT_SCORE_SCALED_WEIGHT;
    default: return SPEFT_SCORE_GIVEN;  // given scores, those of a function, and Fisher's sums of squares
    }
}

bool reads_weights(std::int32_t formula) {
    return formula != SPEFT_SCORE_ABS_GRADIENT && formula != SPEFT_SCORE_GIVEN && formula != SPEFT_SCORE_LOW_RANK;
}

std::uint64_t rank_of(const SelectionOptions &options, const Target &target) {
    const std::uint64_t wanted =
        options.approximation_rank == 0 ? 128 : static_cast<std::uint64_t>(options.approximation_rank);
    return std::min({wanted, target.rows, target.columns()});
}

speft_factorize describe_factorization(const SelectionOptions &options, const Parameter &parameter,
                                       const Target &target) {
    speft_factorize factorize{};
    factorize.rows = target.rows;
    factorize.columns = target.columns();
    factorize.rank = rank_of(options, target);
    factorize.weights_type = static_cast<std::int32_t>(parameter.type);
    return factorize;
}

void factorize(Device &device, const SelectionOptions &options, const SelectionInput &input, const Target &target,
               Scores &made) {
    speft_factorize factorize = describe_factorization(options, input.parameters[target.position], target);
    made.left.emplace_back(device, factorize.rows * factorize.rank);
    made.right.emplace_back(device, factorize.columns * factorize.rank);
    Buffer<std::byte> room;
    factorize.weights = input.weights(target.position, room);
    factorize.left = made.left.back().data();
    factorize.right = made.right.back().data();
    try {
        device.run(factorize);
    } catch (const Failure &failure) {
        throw Failure(failure.status(), "'" + target.name + "' has no low-rank approximation: " + failure.what(),
                      failure.backend(), failure.native_code());
    }
}

speft_tensor view_of(Device &device, const Parameter &parameter, void *data, ScalarType type) {
    speft_tensor tensor{};
    tensor.data = data;
    tensor.device = device.location();
    tensor.ndim = static_cast<std::int32_t>(parameter.shape.size());
    tensor.dtype = dtype_of(type);
    tensor.shape = const_cast<std::int64_t *>(parameter.shape.data());  // the struct is DLPack's, which has no const
    return tensor;
}

void call_score_function(Device &device, const SelectionOptions &options, const SelectionInput &input,
                         const Target &target, Scores &made) {
    const Parameter &parameter = input.parameters[target.position];
    made.given.push_back(Buffer<float>::zeros(device, parameter.size));
    Buffer<float> mean;
    if (input.observation.batches() > 0) {
        mean = Buffer<float>::zeros(device, parameter.size);
        speft_add_values add{};
        add.sums = mean.data();
        add.source = input.observation.sums(target.position);
        add.count = parameter.size;
        add.source_type = SPEFT_SCALAR_FLOAT32;
        add.scale = static_cast<float>(1 / input.observation.total_weight());
        add.weight = 1;
        device.run(add);
    }
    Buffer<std::byte> room;
    const void *const values = input.weights(target.position, room);
    const speft_tensor weights = view_of(device, parameter, const_cast<void *>(values), parameter.type);
    const speft_tensor gradient = view_of(device, parameter, mean.data(), ScalarType::float32);
    const speft_tensor scores = view_of(device, parameter, made.given.back().data(), ScalarType::float32);
    if (options.score.compute(options.score.user, static_cast<std::int64_t>(target.position), &weights,
                              mean ? &gradient : nullptr, &scores) != 0)
        throw Failure(SPEFT_CANCELLED, "the selection was cancelled by its score function");
}

void require_given(bool given, const Parameter &parameter, const char *what) {
    if (parameter.size > 0 && !given) refuse_state(std::string(what) + " given for '" + parameter.name + "'");
}

// The part that sizes and types decide.
speft_score outline_score(const SelectionOptions &options, const Parameter &parameter, const Target &target) {
    speft_score score{};
    score.weights_type = static_cast<std::int32_t>(parameter.type);
    score.count = parameter.size;
    score.formula = formula_of(options.method);
    score.rank = 1;
    score.columns = std::max<std::uint64_t>(target.columns(), 1);
    if (options.method == SPEFT_SELECT_LOW_RANK) score.rank = static_cast<std::uint32_t>(rank_of(options, target));
    return score;
}

}  // namespace

Scores make_scores(Device &device, const SelectionOptions &options, const SelectionInput &input,
                   const std::vector<Target> &targets) {
    if (needs_observations(options) && input.observation.batches() == 0)
        refuse_state(std::string("a selection by ") + get_method_name(options.method) +
                     " needs gradients, and no observation was finished");
    Scores made;
    for (std::size_t at = 0; at < targets.size(); ++at) {
        const std::size_t position = targets[at].position;
        const Parameter &parameter = input.parameters[position];
        speft_score score = outline_score(options, parameter, targets[at]);
        score.total_weight = static_cast<float>(input.observation.total_weight());
        switch (options.method) {
        case SPEFT_SELECT_GIVEN_SCORES:
            require_given(static_cast<bool>(input.given_scores[position]), parameter, "no scores were");
            score.sums = input.given_scores[position].data();
            break;
        case SPEFT_SELECT_WEIGHT_CHANGE:
            require_given(static_cast<bool>(input.references[position]), parameter, "no reference was");
            score.reference = input.references[position].data();
            break;
        case SPEFT_SELECT_LOW_RANK:
            if (parameter.size == 0) break;
            factorize(device, options, input, targets[at], made);
            score.left = made.left.back().data();
            score.right = made.right.back().data();
            break;
        case SPEFT_SELECT_SCORE_FUNCTION:
            if (parameter.size == 0) break;
            call_score_function(device, options, input, targets[at], made);
            score.sums = made.given.back().data();
            break;
        case SPEFT_SELECT_WANDA:
            (input.observation.layout(position) == SPEFT_LAYOUT_OUT_IN ? score.right : score.left) =
                input.observation.sums(position);
            break;
        default:
            if (needs_observations(options)) score.sums = input.observation.sums(position);
        }
        if (reads_weights(score.formula)) {
            made.weights.emplace_back();
            score.weights = input.weights(position, made.weights.back());
        }
        made.all.push_back(score);
    }
    return made;
}

ScoresPlan plan_scores(const Device &device, const SelectionOptions &options, const std::vector<Parameter> &parameters,
                       const std::vector<Target> &targets) {
    ScoresPlan plan;
    for (const Target &target : targets) {
        const Parameter &parameter = parameters[target.position];
        plan.all.push_back(outline_score(options, parameter, target));
        if (options.method == SPEFT_SELECT_SCORE_FUNCTION) {
            plan.kept += target.size * sizeof(float);
            plan.scratch = std::max(plan.scratch, target.size * sizeof(float));
        }
        if (options.method == SPEFT_SELECT_LOW_RANK && target.size > 0) {
            const speft_factorize factorize = describe_factorization(options, parameter, target);
            plan.kept += (factorize.rows + factorize.columns) * factorize.rank * sizeof(float);
            plan.scratch = std::max(plan.scratch, device.scratch_bytes(factorize));
        }
    }
    return plan;
}

}  // namespace speft
