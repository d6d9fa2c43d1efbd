#include "speft/memory.h"

#include <map>

#include "capi/src/guard.h"
#include "capi/src/handles.h"
#include "capi/src/options.h"
#include "capi/src/structs.h"
#include "core/adapter/memory_plan.h"

using namespace speft;

namespace {

PlannedBases read_bases(const speft_basis_options *const *bases, std::size_t count) {
    PlannedBases read(count);
    std::map<const speft_basis_options *, std::shared_ptr<const BasisShape>> known;
    for (std::size_t position = 0; bases && position < count; ++position) {
        if (!bases[position]) continue;
        std::shared_ptr<const BasisShape> &shape = known[bases[position]];
        if (!shape)
            shape = std::make_shared<BasisShape>(
                read_basis_options(bases[position], ("plan: bases[" + std::to_string(position) + "]").c_str()));
        read[position] = shape;
    }
    return read;
}

}  // namespace

speft_status speft_plan_memory(speft_context *context, const speft_adapter_options *options,
                               const speft_parameter *const *parameters, int64_t count, speft_memory_plan *plan,
                               speft_error **error) {
    return guard(error, [&] {
        ContextCall call(context);
        const AdapterOptions chosen = read_adapter_options(options);
        const std::vector<Parameter> declared = read_parameters(parameters, count);
        speft_memory_plan result = read_struct(plan, "plan");
        if (result.tokens < 0) refuse("plan: tokens must be 0 or more; got " + std::to_string(result.tokens));
        const MemoryPlan planned =
            plan_memory(call.context()->device(), chosen, declared, read_bases(result.bases, declared.size()),
                        static_cast<std::uint64_t>(result.tokens));
        result.observation = planned.observation;
        result.announced_observation = planned.announced_observation;
        result.selection = planned.selection;
        result.training = planned.training;
        result.reselection = planned.reselection;
        result.fitting = planned.fitting;
        result.products = planned.products;
        result.merging = planned.merging;
        write_struct(plan, "plan", result);
    });
}
