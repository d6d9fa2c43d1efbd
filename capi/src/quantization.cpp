#include "speft/quantization.h"

#include "capi/src/guard.h"
#include "capi/src/handles.h"
#include "capi/src/views.h"

using namespace speft;

namespace {

void check(speft_context *context, const speft_tensor *weights, const speft_weights *quantized) {
    ContextCall call(context);
    read_tensor(weights, "weights");
    read_struct(quantized, "quantized");
    refuse_unsupported("quantized weights are not in this version");
}

}  // namespace

speft_status speft_quantize(speft_context *context, const speft_tensor *weights, const speft_weights *quantized,
                            speft_error **error) {
    return guard(error, [&] { check(context, weights, quantized); });
}

speft_status speft_dequantize(speft_context *context, const speft_weights *quantized, const speft_tensor *weights,
                              speft_error **error) {
    return guard(error, [&] { check(context, weights, quantized); });
}
