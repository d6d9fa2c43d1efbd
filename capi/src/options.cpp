#include "capi/src/options.h"

#include <string>

#include "capi/src/structs.h"
#include "core/base/status.h"
#include "core/base/utf8.h"

using namespace speft;

namespace speft {
namespace {

speft_selection_options default_selection() {
    const SelectionOptions defaults;
    speft_selection_options options{};
    options.method = defaults.method;
    options.scope = defaults.scope;
    options.random = defaults.random;
    return options;
}

speft_optimizer_options default_optimizer() {
    const OptimizerOptions defaults;
    speft_optimizer_options options{};
    options.kind = defaults.kind;
    options.age = defaults.age;
    return options;
}

speft_hyperparameters default_hyperparameters() {
    const Hyperparameters defaults;
    speft_hyperparameters options{};
    options.decay = defaults.decay;
    options.learning_rate = defaults.learning_rate;
    options.beta1 = defaults.beta1;
    options.beta2 = defaults.beta2;
    options.epsilon = defaults.epsilon;
    options.weight_decay = defaults.weight_decay;
    options.momentum = defaults.momentum;
    return options;
}

Schedule read_schedule(const speft_schedule_options *options) {
    if (!options) return {};
    const speft_schedule_options given = read_struct(options, "schedule options");
    Schedule read;
    read.kind = given.schedule;
    read.total_steps = given.total_steps;
    read.reselect_every = given.reselect_every;
    read.window = given.window;
    read.rate = given.rate;
    read.candidates = given.candidates;
    read.drop = given.drop;
    read.keep_moments = given.keep_moments != 0;
    read.settled_limit = given.settled_limit;
    read.track_moves = given.track_moves != 0;
    return read;
}

SelectionOptions read_selection(const speft_selection_options *options) {
    const speft_selection_options given = read_struct(options, "selection options", default_selection());
    SelectionOptions read;
    read.method = given.method;
    read.scope = given.scope;
    read.random = given.random;
    read.density = given.density;
    read.budget = given.budget;
    read.seed = given.seed;
    read.rank = given.rank;
    read.model_scalars = given.model_scalars;
    read.approximation_rank = given.approximation_rank;
    read.mean = given.mean;
    read.threshold = given.threshold;
    read.schedule = read_schedule(given.schedule);
    read.score = read_score_function(given.score);
    return read;
}

OptimizerOptions read_optimizer(const speft_optimizer_options *options) {
    const speft_optimizer_options given = read_struct(options, "optimizer options", default_optimizer());
    return {given.kind, given.age, given.state};
}

Hyperparameters read_hyperparameters(const speft_hyperparameters *hyperparameters, const std::string &name) {
    const speft_hyperparameters given = read_struct(hyperparameters, name.c_str(), default_hyperparameters());
    const Hyperparameters read{given.decay,   given.learning_rate, given.beta1,   given.beta2,
                               given.epsilon, given.weight_decay,  given.momentum};
    check_hyperparameters(read, name);
    return read;
}

Parameter read_parameter(const speft_parameter *parameter, std::int64_t position) {
    const std::string what = "parameters[" + std::to_string(position) + "]";
    const speft_parameter given = read_struct(parameter, what.c_str());
    Parameter read;
    read.name = require(given.name, (what + ".name").c_str());
    if (read.name.empty()) refuse(what + ".name must not be empty");
    if (!is_utf8(read.name)) refuse(what + ".name must be UTF-8");
    const std::string named = "parameter '" + read.name + "': ";
    if (given.role != SPEFT_ROLE_SPARSE && given.role != SPEFT_ROLE_DENSE)
        refuse(named + "role must be SPEFT_ROLE_SPARSE or SPEFT_ROLE_DENSE; got " + std::to_string(given.role));
    read.role = static_cast<Role>(given.role);
    if (given.part < SPEFT_PART_WHOLE || given.part > SPEFT_PART_BLOCK)
        refuse(named + "part must be one of SPEFT_PART_…; got " + std::to_string(given.part));
    if (given.part != SPEFT_PART_WHOLE) 
        refuse_unsupported(named + "part must be SPEFT_PART_WHOLE: sharded parameters are not in this version");
    if (given.group < 0) refuse(named + "group must be 0 or more; got " + std::to_string(given.group));
    read.group = given.group;

    TensorView type;
    type.dtype = given.dtype;
    read.type = scalar_type_of(type, named + "dtype");
    if (given.ndim < 0 || given.ndim > 64)
        refuse(named + "ndim must be between 0 and 64; got " + std::to_string(given.ndim));
    if (given.ndim > 0) require(given.shape, (what + ".shape").c_str());
    read.shape.assign(given.shape, given.shape + given.ndim);
    for (const std::int64_t extent : read.shape) {
        if (extent < 0) refuse(named + "sizes must be 0 or more; got shape " + describe(read.shape));
        if (__builtin_mul_overflow(read.size, static_cast<std::uint64_t>(extent), &read.size))
            refuse(named + "shape " + describe(read.shape) + " has too many scalars");
    }
    if (read.size >= std::uint64_t{1} << 32)
        refuse_unsupported(named + "this version takes fewer than 2^32 scalars a parameter; got shape " +
                           describe(read.shape));
    return read;
}

}  // namespace

ScoreFunction read_score_function(const speft_score_function *function) {
    if (!function) return {};
    const speft_score_function given = read_struct(function, "score function");
    require(reinterpret_cast<void *>(given.compute), "score function: compute");
    return {given.compute, given.user};
}

AdapterOptions read_adapter_options(const speft_adapter_options *options) {
    AdapterOptions read;
    if (!options) return read;
    const speft_adapter_options given = read_struct(options, "adapter options");
    if (given.delta_type != SPEFT_DELTA_FLOAT32 && given.delta_type != SPEFT_DELTA_BFLOAT16)
        refuse("adapter options: delta_type must be SPEFT_DELTA_FLOAT32 or SPEFT_DELTA_BFLOAT16; got " +
               std::to_string(given.delta_type));
    if (given.delta_type == SPEFT_DELTA_BFLOAT16) read.delta_type = ScalarType::bfloat16;
    if (given.communicator && read_struct(given.communicator, "communicator").size > 1)
        refuse_unsupported("adapter options: several processes are not in this version; got a communicator of size " +
                           std::to_string(given.communicator->size));
    if (given.selection) read.selection = read_selection(given.selection);
    if (given.optimizer)
        read.optimizer = read_optimizer(given.optimizer);
    else if (read.selection.method == SPEFT_SELECT_SPIEL_MA)
        read.optimizer.kind = SPEFT_OPTIMIZER_SM3;
    return read;
}

std::vector<Parameter> read_parameters(const speft_parameter *const *parameters, std::int64_t count) {
    if (count < 1) refuse("count must be 1 or more; got " + std::to_string(count));
    require(parameters, "parameters");
    std::vector<Parameter> read;
    for (std::int64_t position = 0; position < count; ++position)
        read.push_back(read_parameter(parameters[position], position));
    return read;
}

BasisShape read_basis_options(const speft_basis_options *options, const char *name) {
    const speft_basis_options given = read_struct(options, name);
    const std::string what = std::string(name) + ": ";
    if (given.rows < 1 || given.columns < 1)
        refuse(what + "rows and columns must be 1 or more; got " + std::to_string(given.rows) + " and " +
               std::to_string(given.columns));
    constexpr std::int64_t longest = INT64_C(1) << 30;  // the square of a side, in bytes, is counted in 64 bits
    if (given.rows > longest || given.columns > longest)
        refuse_unsupported(what + "rows and columns must be at most 2^30; got " + std::to_string(given.rows) +
                           " and " + std::to_string(given.columns));
    const auto kept = [&](const char *field, std::int64_t directions, std::int64_t size) {
        if (directions < 0 || directions > size)
            refuse(what + field + " must be between 0 and " + std::to_string(size) + "; got " +
                   std::to_string(directions));
        return static_cast<std::uint64_t>(directions == 0 ? size : directions);
    };
    return {static_cast<std::uint64_t>(given.rows), static_cast<std::uint64_t>(given.columns),
            kept("row_directions", given.row_directions, given.rows),
            kept("column_directions", given.column_directions, given.columns)};
}

StepOptions read_step_options(const speft_step_options *options) {
    StepOptions read;
    if (!options) return read;
    const speft_step_options given = read_struct(options, "step options");
    if (given.control) refuse_unsupported("step options: a control tensor is not in this version");
    if (given.group_count < 0)
        refuse("step options: group_count must be 0 or more; got " + std::to_string(given.group_count));
    if (given.group_count > 0) require(given.groups, "step options: groups");
    if (given.group_count == 0 && given.groups) refuse("step options: groups are given, and group_count is 0");
    for (std::int32_t group = 0; group < given.group_count; ++group)
        read.groups.push_back(
            read_hyperparameters(given.groups[group], "step options: groups[" + std::to_string(group) + "]"));
    if (given.gradient_scale != given.gradient_scale || given.gradient_scale - given.gradient_scale != 0)
        refuse("step options: gradient_scale must be finite; got " + std::to_string(given.gradient_scale));
    read.gradient_scale = given.gradient_scale == 0 ? 1 : given.gradient_scale;
    read.keep_gradient = given.keep_gradient != 0;
    read.allow_missing = given.allow_missing != 0;
    return read;
}

LinearOptions read_linear_options(const speft_linear_options *options, Direction direction) {
    const speft_linear_options given = options ? read_struct(options, "linear options") : speft_linear_options{};
    if (given.layout != SPEFT_LAYOUT_OUT_IN && given.layout != SPEFT_LAYOUT_IN_OUT)
        refuse("linear options: layout must be SPEFT_LAYOUT_OUT_IN or SPEFT_LAYOUT_IN_OUT; got " +
               std::to_string(given.layout));
    const bool transposed = (given.layout == SPEFT_LAYOUT_OUT_IN) == (direction == Direction::forward);
    return {transposed ? Factor::transposed : Factor::plain, given.accumulate != 0 ? Into::add : Into::replace,
            given.delta_only != 0};
}

const speft_progress *read_progress(const speft_progress *progress, speft_progress &copy) {
    if (!progress) return nullptr;
    copy = read_struct(progress, "progress");
    require(reinterpret_cast<void *>(copy.report), "progress.report");
    return &copy;
}

}  // namespace speft

void speft_schedule_options_init(speft_schedule_options *options, uint32_t size) { init_struct(options, size, {}); }

void speft_selection_options_init(speft_selection_options *options, uint32_t size) {
    init_struct(options, size, default_selection());
}

void speft_optimizer_options_init(speft_optimizer_options *options, uint32_t size) {
    init_struct(options, size, default_optimizer());
}

void speft_hyperparameters_init(speft_hyperparameters *hyperparameters, uint32_t size) {
    init_struct(hyperparameters, size, default_hyperparameters());
}

void speft_adapter_options_init(speft_adapter_options *options, uint32_t size) { init_struct(options, size, {}); }

void speft_parameter_init(speft_parameter *parameter, uint32_t size) {
    speft_parameter defaults{};
    defaults.dtype = dtype_of(ScalarType::float32);
    init_struct(parameter, size, defaults);
}

void speft_step_options_init(speft_step_options *options, uint32_t size) { init_struct(options, size, {}); }
