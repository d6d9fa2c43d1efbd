#include "speft/training.h"

#include "capi/src/guard.h"
#include "capi/src/handles.h"
#include "capi/src/options.h"
#include "capi/src/views.h"

using namespace speft;

speft_status speft_accumulate(speft_adapter *adapter, int64_t parameter, const speft_gradient *gradient,
                              speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        call->accumulate(call.position(parameter), read_gradient(gradient));
    });
}

speft_status speft_get_gradient(speft_adapter *adapter, int64_t parameter, speft_tensor *gradient,
                                speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        const std::size_t position = call.position(parameter);
        require(gradient, "gradient");
        const Masks &masks = call->masks();
        *gradient = lend(call->lend_gradient(position), ScalarType::float32, masks.slots[position],
                         call->context().device().location());
    });
}

speft_status speft_clear_gradient(speft_adapter *adapter, int64_t parameter, speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        if (parameter != -1) {
            call->clear_gradient(call.position(parameter));
            return;
        }
        for (std::size_t position = 0; position < call->parameters().size(); ++position)
            call->clear_gradient(position);
    });
}

speft_status speft_clip_gradient(speft_adapter *adapter, double max_norm, double *norm, speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        const double before = call->clip_gradient(max_norm);
        if (norm) *norm = before;
    });
}

speft_status speft_step(speft_adapter *adapter, const speft_step_options *options, speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        call->step(read_step_options(options));
    });
}
