#include "speft/merge.h"

#include "capi/src/guard.h"
#include "capi/src/handles.h"

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
