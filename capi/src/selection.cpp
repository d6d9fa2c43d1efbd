#include "speft/selection.h"

#include <algorithm>

#include "capi/src/guard.h"
#include "capi/src/handles.h"
#include "capi/src/options.h"
#include "capi/src/structs.h"
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
        const TensorView view = read_host_indices(indices, "indices");
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

speft_status speft_set_reference(speft_adapter *adapter, int64_t parameter, const speft_tensor *original,
                                 speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        call->set_reference(call.position(parameter), read_tensor(original, "original"));
    });
}

speft_status speft_reselect(speft_adapter *adapter, const speft_progress *progress, speft_reselection *moved,
                            speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        speft_reselection values{};
        if (moved) values = read_struct(moved, "moved");
        speft_progress copy;
        const std::optional<Reselection> done = call->reselect(read_progress(progress, copy));
        if (!moved) return;
        values.due = done.has_value();
        const Reselection of = done.value_or(Reselection{});
        values.step = of.step;
        values.dropped = static_cast<int64_t>(of.dropped);
        values.grown = static_cast<int64_t>(of.grown);
        values.settled = static_cast<int64_t>(of.settled);
        write_struct(moved, "moved", values);
    });
}

speft_status speft_get_moved(speft_adapter *adapter, int64_t parameter, int32_t which, int64_t *count,
                             const speft_tensor *indices, speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        const std::size_t position = call.position(parameter);
        if (which != SPEFT_MOVED_DROPPED && which != SPEFT_MOVED_GROWN)
            refuse("which must be SPEFT_MOVED_DROPPED or SPEFT_MOVED_GROWN; got " + std::to_string(which));
        const std::vector<std::uint32_t> moved =
            call->moved(position, which == SPEFT_MOVED_DROPPED ? Moved::dropped : Moved::grown);
        if (indices) {
            const TensorView view = read_host_indices(indices, "indices");
            if (view.size != moved.size())
                refuse("indices must have shape " + describe(Shape{static_cast<int64_t>(moved.size())}) + "; got " +
                       describe(view.shape));
            std::copy(moved.begin(), moved.end(), static_cast<std::int64_t *>(view.data));
        }
        if (count) *count = static_cast<int64_t>(moved.size());
    });
}
