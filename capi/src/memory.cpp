#include "speft/memory.h"

#include "capi/src/guard.h"
#include "capi/src/handles.h"
#include "capi/src/options.h"

using namespace speft;

speft_status speft_plan_memory(speft_context *context, const speft_adapter_options *options,
                               const speft_parameter *const *parameters, int64_t count, speft_memory_plan *plan,
                               speft_error **error) {
    return guard(error, [&] {
        ContextCall call(context);
        read_adapter_options(options);
        read_parameters(parameters, count);
        require(plan, "plan");
        refuse_unsupported("speft_plan_memory: memory plans are not in this version");
    });
}
