#include "speft/linear.h"

#include "capi/src/guard.h"
#include "capi/src/handles.h"
#include "capi/src/views.h"

using namespace speft;

namespace {

enum class Direction { forward, backward };

void apply(speft_adapter *adapter, int64_t parameter, const speft_linear_options *options, Direction direction,
           const TensorView &inputs, const TensorView &outputs) {
    AdapterCall call(adapter);
    const std::size_t position = call.position(parameter);
    const speft_linear_options given = options ? read_struct(options, "linear options") : speft_linear_options{};
    if (given.layout != SPEFT_LAYOUT_OUT_IN && given.layout != SPEFT_LAYOUT_IN_OUT)
        refuse("linear options: layout must be SPEFT_LAYOUT_OUT_IN or SPEFT_LAYOUT_IN_OUT; got " +
               std::to_string(given.layout));
    const bool transposed = (given.layout == SPEFT_LAYOUT_OUT_IN) == (direction == Direction::forward);
    call->apply(position, transposed ? Factor::transposed : Factor::plain, inputs, outputs, given.delta_only != 0,
                given.accumulate != 0 ? Into::add : Into::replace);
}

}  // namespace

void speft_linear_options_init(speft_linear_options *options, uint32_t size) { init_struct(options, size, {}); }

speft_status speft_linear_forward(speft_adapter *adapter, int64_t parameter, const speft_linear_options *options,
                                  const speft_tensor *x, const speft_tensor *y, speft_error **error) {
    return guard(error, [&] {
        apply(adapter, parameter, options, Direction::forward, read_tensor(x, "x"), read_tensor(y, "y"));
    });
}

speft_status speft_linear_backward(speft_adapter *adapter, int64_t parameter, const speft_linear_options *options,
                                   const speft_tensor *dy, const speft_tensor *dx, speft_error **error) {
    return guard(error, [&] {
        apply(adapter, parameter, options, Direction::backward, read_tensor(dy, "dy"), read_tensor(dx, "dx"));
    });
}
