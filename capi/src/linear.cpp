#include "speft/linear.h"

#include "capi/src/guard.h"
#include "capi/src/handles.h"
#include "capi/src/views.h"

using namespace speft;

namespace {

void check(speft_adapter *adapter, int64_t parameter, const speft_linear_options *options, const speft_tensor *input,
           const char *input_name, const speft_tensor *output, const char *output_name) {
    AdapterCall call(adapter);
    call.position(parameter);
    if (options) read_struct(options, "linear options");
    read_tensor(input, input_name);
    read_tensor(output, output_name);
    refuse_unsupported("a linear layer with its delta on the fly is not in this version");
}

}  // namespace

void speft_linear_options_init(speft_linear_options *options, uint32_t size) { init_struct(options, size, {}); }

speft_status speft_linear_forward(speft_adapter *adapter, int64_t parameter, const speft_linear_options *options,
                                  const speft_tensor *x, const speft_tensor *y, speft_error **error) {
    return guard(error, [&] { check(adapter, parameter, options, x, "x", y, "y"); });
}

speft_status speft_linear_backward(speft_adapter *adapter, int64_t parameter, const speft_linear_options *options,
                                   const speft_tensor *dy, const speft_tensor *dx, speft_error **error) {
    return guard(error, [&] { check(adapter, parameter, options, dy, "dy", dx, "dx"); });
}
