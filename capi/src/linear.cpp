#include "speft/linear.h"

#include <memory>
#include <vector>

#include "capi/src/guard.h"
#include "capi/src/handles.h"
#include "capi/src/options.h"
#include "capi/src/views.h"
#include "core/adapter/linear_each.h"

using namespace speft;

namespace {

void apply(speft_adapter *adapter, int64_t parameter, const speft_linear_options *options, Direction direction,
           const TensorView &inputs, const TensorView &outputs) {
    AdapterCall call(adapter);
    const std::size_t position = call.position(parameter);
    const LinearOptions given = read_linear_options(options, direction);
    call->apply(position, given.weight_is, inputs, outputs, given.delta_only, given.into);
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

speft_status speft_linear_forward_each(speft_adapter *const *adapters, const int64_t *parameters, int64_t count,
                                       const speft_linear_options *options, const speft_tensor *x,
                                       const speft_tensor *choice, const speft_tensor *y, speft_error **error) {
    return guard(error, [&] {
        if (count < 1) refuse("count must be 1 or more; got " + std::to_string(count));
        require(adapters, "adapters");
        require(parameters, "parameters");
        AdapterCall first(adapters[0]);  // whose turn is that of all
        std::vector<std::shared_ptr<Adapter>> alive;
        std::vector<AdapterLayer> layers;
        for (int64_t at = 0; at < count; ++at) {
            const std::shared_ptr<Adapter> &adapter = require(adapters[at], "adapters")->inner;
            if (&adapter->context() != &first->context())
                refuse("adapters: all must be of one context; adapter " + std::to_string(at) + " is of another");
            alive.push_back(adapter);
            layers.push_back({adapter.get(), position_of(*adapter, parameters[at])});
        }
        const LinearOptions given = read_linear_options(options, Direction::forward);
        const TensorView rows = read_host_indices(choice, "choice");
        const auto *const chosen = static_cast<const std::int64_t *>(rows.data);
        apply_each(layers, {chosen, static_cast<std::size_t>(rows.size)}, given.weight_is, read_tensor(x, "x"),
                   read_tensor(y, "y"), given.delta_only, given.into);
    });
}
