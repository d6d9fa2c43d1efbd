#include "speft/merge.h"

#include <cmath>
#include <optional>

#include "capi/src/guard.h"
#include "capi/src/handles.h"
#include "capi/src/structs.h"

using namespace speft;

speft_status speft_merge(speft_adapter *adapter, speft_error **error) {
    return guard(error, [&] { AdapterCall(adapter)->merge(); });
}

speft_status speft_attach(speft_adapter *adapter, speft_error **error) {
    return guard(error, [&] { AdapterCall(adapter)->attach(); });
}

speft_status speft_unmerge(speft_adapter *adapter, speft_error **error) {
    return guard(error, [&] { AdapterCall(adapter)->unmerge(); });
}

speft_status speft_get_requantization(speft_adapter *adapter, int64_t parameter, speft_requantization *requantization,
                                      speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        std::optional<std::size_t> position;
        if (parameter != -1) position = call.position(parameter);
        const Adapter::Requantization done = call->requantization(position);
        speft_requantization values{};
        values.deltas = static_cast<int64_t>(done.deltas);
        values.changed = static_cast<int64_t>(done.changed);
        if (done.squares > 0) values.relative_error = std::sqrt(done.squared_errors / done.squares);
        write_struct(requantization, "requantization", values);
    });
}
