// The product of a linear layer with a delta that is beside its weight, added to XLA's product with the weight.
#include <cstring>

#include "failure.h"
#include "taps.h"
#include "turn.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace speft::jax {

namespace {

// Where the delta is in the weights, or in effect nowhere, the product with them is all there is.
void add(const Tap &tap, int32_t device, const speft_tensor &inputs, const speft_tensor &outputs, int32_t layout,
         bool backward) {
    const Turn turn(tap.number, device);
    const speft_adapter_state state = turn.state();
    if (!state.attached || state.merged) return;
    speft_linear_options options;
    speft_linear_options_init(&options, sizeof options);
    options.layout = layout;
    options.delta_only = 1;
    options.accumulate = 1;
    const auto product = backward ? speft_linear_backward : speft_linear_forward;
    check([&](auto **error) {
        return product(turn.adapter(), tap.parameter, &options, &inputs, &outputs, error);
    });
}

// inputs and outputs [.., tokens, features] with one tap [.., 8] for each of the leading axes that vmap has added. The
// second result is the tap: what is given it runs after this.
ffi::Error add_delta(int32_t device, ffi::AnyBuffer tap, ffi::AnyBuffer inputs, ffi::AnyBuffer product,
                     ffi::Result<ffi::AnyBuffer> outputs, ffi::Result<ffi::AnyBuffer> passed, int32_t layout,
                     int32_t backward) {
    return guard([&] {
        std::memcpy(passed->untyped_data(), tap.untyped_data(), tap.size_bytes());
        // XLA copies what it may not overwrite before the call; should it leave the copy to us, it is made here.
        if (outputs->untyped_data() != product.untyped_data())
            std::memcpy(outputs->untyped_data(), product.untyped_data(), product.size_bytes());
        const size_t taps = count_taps(tap);
        Rows from("the input of linear()", inputs, taps), to("the output of linear()", *outputs, taps);
        for_each_tap(tap, [&](const Tap &of, size_t begin, size_t end) {
            add(of, device, from.behind(begin, end), to.behind(begin, end), layout, backward != 0);
        });
    });
}

} // namespace

} // namespace speft::jax

#pragma GCC visibility push(default)
XLA_FFI_DEFINE_HANDLER_SYMBOL(speft_jax_add_delta, speft::jax::add_delta,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::DeviceOrdinal>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<int32_t>("layout")
                                  .Attr<int32_t>("backward"));
#pragma GCC visibility pop
