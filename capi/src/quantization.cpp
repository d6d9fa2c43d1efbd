#include "speft/quantization.h"

#include "capi/src/guard.h"
#include "capi/src/handles.h"
#include "capi/src/views.h"
#include "core/quantization/quantize.h"

using namespace speft;

namespace {

std::optional<TensorView> read_optional(const speft_tensor *tensor, const char *name) {
    if (!tensor) return {};
    return read_tensor(tensor, name);
}

QuantizedRecord read_quantized(const speft_weights *quantized) {
    const speft_weights weights = read_struct(quantized, "quantized");
    if (weights.kind == SPEFT_WEIGHTS_DENSE) refuse("quantized: kind must not be SPEFT_WEIGHTS_DENSE");
    const speft_quantization given = read_struct(weights.quantization, "quantized.quantization");
    QuantizedRecord record;
    record.kind = weights.kind;
    record.block = given.block;
    record.codes = read_tensor(weights.data, "quantized.data");
    record.absmax = read_tensor(given.absmax, "quantized.absmax");
    record.levels = read_optional(given.levels, "quantized.levels");
    record.absmax_absmax = read_optional(given.absmax_absmax, "quantized.absmax_absmax");
    record.absmax_levels = read_optional(given.absmax_levels, "quantized.absmax_levels");
    record.absmax_offset = read_optional(given.absmax_offset, "quantized.absmax_offset");
    record.absmax_block = given.absmax_block;
    return record;
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
