#include "speft/selection.h"

#include "capi/src/guard.h"
#include "capi/src/handles.h"
#include "capi/src/options.h"
#include "capi/src/views.h"

using namespace speft;

speft_status speft_begin_observation(speft_adapter *adapter, double weight, speft_error **error) {
    return guard(error, [&] { AdapterCall(adapter)->begin_observation(weight); });
}

speft_status speft_observe(speft_adapter *adapter, int64_t parameter, const speft_gradient *gradient,
                           speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        call->observe(call.position(parameter), read_gradient(gradient));
    });
}

speft_status speft_finish_observation(speft_adapter *adapter, double weight, speft_error **error) {
    return guard(error, [&] { AdapterCall(adapter)->finish_observation(weight); });
}

speft_status speft_clear_observations(speft_adapter *adapter, speft_error **error) {
    return guard(error, [&] { AdapterCall(adapter)->clear_observations(); });
}

speft_status speft_set_mask(speft_adapter *adapter, int64_t parameter, const speft_tensor *indices,
                            speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        const TensorView view = read_host_indices(indices);
        call->set_mask(call.position(parameter), {static_cast<const std::int64_t *>(view.data), view.size});
    });
}

speft_status speft_set_scores(speft_adapter *adapter, int64_t parameter, const speft_tensor *scores,
                              speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        call->set_scores(call.position(parameter), read_tensor(scores, "scores"));
    });
}

speft_status speft_select(speft_adapter *adapter, const speft_progress *progress, speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        speft_progress copy;
        call->select(read_progress(progress, copy));
    });
}

speft_status speft_reselect(speft_adapter *adapter, const speft_progress *progress, speft_reselection *,
                            speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        speft_progress copy;
        read_progress(progress, copy);
        refuse_unsupported("speft_reselect: masks that move are not in this version");
    });
}
