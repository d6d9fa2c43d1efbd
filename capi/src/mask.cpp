#include "speft/mask.h"

#include "capi/src/guard.h"
#include "capi/src/handles.h"
#include "capi/src/views.h"

using namespace speft;

speft_status speft_get_selected_count(speft_adapter *adapter, int64_t parameter, int64_t *count,
                                      speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        const std::size_t position = call.position(parameter);
        *require(count, "count") = call->masks().slots[position].count;
    });
}

speft_status speft_get_mask(speft_adapter *adapter, int64_t parameter, const speft_tensor *indices,
                            speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        const std::size_t position = call.position(parameter);
        const std::int64_t count = call->masks().slots[position].count;
        const TensorView view = read_host_indices(indices, "indices");
        if (view.shape != Shape{count})
            refuse("indices must have shape " + describe(Shape{count}) + "; got " + describe(view.shape));
        call->copy_mask(position, static_cast<std::int64_t *>(view.data));
    });
}

speft_status speft_get_ages(speft_adapter *adapter, int64_t parameter, const speft_tensor *ages,
                            speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        const std::size_t position = call.position(parameter);
        const std::int64_t count = call->masks().slots[position].count;
        const TensorView view = read_host_indices(ages, "ages");
        if (view.shape != Shape{count})
            refuse("ages must have shape " + describe(Shape{count}) + "; got " + describe(view.shape));
        call->copy_ages(position, static_cast<std::int64_t *>(view.data));
    });
}

speft_status speft_get_deltas(speft_adapter *adapter, int64_t parameter, speft_tensor *deltas, speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        const std::size_t position = call.position(parameter);
        const Masks &masks = call->masks();
        *require(deltas, "deltas") = lend(call->deltas(position), call->delta_type(position), masks.slots[position],
                                          call->context().device().location());
    });
}

speft_status speft_measure_rounding_loss(speft_adapter *adapter, int64_t parameter, double *share,
                                         speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        std::optional<std::size_t> position;
        if (parameter != -1) position = call.position(parameter);
        require(share, "share");
        *share = call->rounding_loss(position);
    });
}
