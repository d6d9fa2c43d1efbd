#include "speft/adapter.h"

#include "capi/src/guard.h"
#include "capi/src/handles.h"
#include "capi/src/options.h"
#include "capi/src/views.h"

using namespace speft;

speft_status speft_create_adapter(speft_context *context, const speft_adapter_options *options,
                                  const speft_parameter *const *parameters, int64_t count, speft_adapter **adapter,
                                  speft_error **error) {
    return guard(error, [&] {
        ContextCall call(context);
        require(adapter, "adapter");
        *adapter = new speft_adapter{std::make_shared<Adapter>(call.context(), read_adapter_options(options),
                                                               read_parameters(parameters, count))};
    });
}

void speft_destroy_adapter(speft_adapter *adapter) { delete adapter; }

speft_status speft_bind_weights(speft_adapter *adapter, int64_t parameter, const speft_weights *weights,
                                speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        const std::size_t position = call.position(parameter);
        if (!weights) {
            call->unbind(position);
            return;
        }
        std::visit([&](const auto &read) { call->bind(position, read); }, read_weights(weights));
    });
}

int64_t speft_count_parameters(const speft_adapter *adapter) {
    return adapter ? static_cast<int64_t>(adapter->inner->parameters().size()) : 0;
}

speft_status speft_get_parameter(speft_adapter *adapter, int64_t parameter, speft_parameter *info,
                                 speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        const Parameter &declared = call->parameters()[call.position(parameter)];
        speft_parameter values{};
        values.role = static_cast<int32_t>(declared.role);
        values.name = declared.name.c_str();
        values.shape = declared.shape.data();
        values.ndim = static_cast<int32_t>(declared.shape.size());
        values.dtype = dtype_of(declared.type);
        values.part = SPEFT_PART_WHOLE;
        values.group = declared.group;
        write_struct(info, "info", values);
    });
}

speft_status speft_get_adapter_state(speft_adapter *adapter, speft_adapter_state *state, speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        speft_adapter_state values{};
        values.selected = call->selected();
        values.merged = call->merged();
        values.attached = call->attached();
        values.method = call->selection().method;
        values.steps = call->steps();
        values.observations = call->observations();
        if (call->selected()) {
            values.selected_scalars = static_cast<int64_t>(call->masks().selected);
            values.trained_scalars = static_cast<int64_t>(call->masks().trained);
        }
        values.settled_scalars = static_cast<int64_t>(call->settled());
        values.next_reselection = call->next_reselection();
        values.reselection_due = call->reselection_due();
        for (const Parameter &parameter : call->trained())
            if (parameter.role == Role::sparse) values.targeted_scalars += static_cast<int64_t>(parameter.size);
        write_struct(state, "state", values);
    });
}
