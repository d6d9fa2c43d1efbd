#include "speft/quantization.h"

#include "capi/src/guard.h"
#include "capi/src/handles.h"
#include "capi/src/options.h"
#include "capi/src/views.h"
#include "core/quantization/quantize.h"

using namespace speft;

namespace {

void apply(speft_context *context, const speft_weights *quantized, const speft_linear_options *options,
           Direction direction, const TensorView &inputs, const TensorView &outputs) {
    ContextCall call(context);
    const LinearOptions given = read_linear_options(options, direction);
    if (given.delta_only) refuse("linear options: delta_only must be 0, for there is no delta");
    multiply(call->device(), inputs, read_quantized(quantized), given.weight_is, outputs, given.into);
}

}  // namespace

speft_status speft_quantize(speft_context *context, const speft_tensor *weights, const speft_weights *quantized,
                            speft_error **error) {
    return guard(error, [&] {
        ContextCall call(context);
        const TensorView view = read_tensor(weights, "weights");
        quantize(call->device(), view, read_quantized(quantized));
    });
}

speft_status speft_dequantize(speft_context *context, const speft_weights *quantized, const speft_tensor *weights,
                              speft_error **error) {
    return guard(error, [&] {
        ContextCall call(context);
        const QuantizedRecord record = read_quantized(quantized);
        dequantize(call->device(), record, read_tensor(weights, "weights"));
    });
}

speft_status speft_quantized_forward(speft_context *context, const speft_weights *quantized,
                                     const speft_linear_options *options, const speft_tensor *x,
                                     const speft_tensor *y, speft_error **error) {
    return guard(error, [&] {
        apply(context, quantized, options, Direction::forward, read_tensor(x, "x"), read_tensor(y, "y"));
    });
}

speft_status speft_quantized_backward(speft_context *context, const speft_weights *quantized,
                                      const speft_linear_options *options, const speft_tensor *dy,
                                      const speft_tensor *dx, speft_error **error) {
    return guard(error, [&] {
        apply(context, quantized, options, Direction::backward, read_tensor(dy, "dy"), read_tensor(dx, "dx"));
    });
}
