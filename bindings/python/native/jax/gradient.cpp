// The backward pass of a linear layer hands its input and output gradient to the adapter; nothing dense is formed.
#include <algorithm>
#include <vector>

#include "failure.h"
#include "methods.h"
#include "taps.h"
#include "turn.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace speft::jax {

namespace {

// Where the examples of a batch begin: its first axis counts them, each has as many tokens.
std::vector<int64_t> offsets_of(int64_t examples, int64_t tokens) {
    std::vector<int64_t> offsets(static_cast<size_t>(examples) + 1);
    for (int64_t i = 0; i <= examples; ++i) offsets[static_cast<size_t>(i)] = tokens / examples * i;
    return offsets;
}

// `copies` of a batch of `examples`, side by side, as vmap brings them.
void add(const Tap &tap, int32_t device, speft_tensor x, speft_tensor dy, int32_t layout, int64_t examples,
         int64_t copies) {
    const Turn turn(tap.number, device);
    speft_gradient gradient{};
    gradient.struct_size = sizeof gradient;
    gradient.kind = SPEFT_GRADIENT_ACTIVATIONS;
    gradient.x = &x;
    gradient.dy = &dy;
    gradient.layout = layout;
    const auto observed = turn.host().bases.find(tap.parameter);
    if (observed != turn.host().bases.end()) {
        check([&](auto **error) { return speft_observe_basis(observed->second.basis, &gradient, error); });
        observed->second.arrived = true;
        return;
    }
    const speft_adapter_state state = turn.state();
    const bool observes = !state.selected || (state.reselection_due && !selects_by_step(state.method));
    const int64_t tokens = x.shape[0];
    std::vector<int64_t> offsets;
    int64_t offsets_count = 0;
    speft_tensor offsets_view{};
    if (observes && state.method == SPEFT_SELECT_FISHER && examples > 0) {
        if (examples > 1 && copies > 1) {
            throw Failure(SPEFT_UNSUPPORTED, "selection 'fisher' counts examples by the first axis of a layer's input, "
                                             "which under vmap may be something else: compute the loss of a batch "
                                             "without vmap");
        }
        examples *= copies;
        offsets = offsets_of(examples, tokens);
        offsets_count = static_cast<int64_t>(offsets.size());
        offsets_view = {offsets.data(), x.device, 1, {SPEFT_CODE_INT, 64, 1}, &offsets_count, nullptr, 0};
        gradient.example_offsets = &offsets_view;
        gradient.scale = static_cast<double>(examples); // the loss is a mean over them
    }
    check([&](auto **error) {
        return observes ? speft_observe(turn.adapter(), tap.parameter, &gradient, error)
                        : speft_accumulate(turn.adapter(), tap.parameter, &gradient, error);
    });
}

// x [.., tokens, in] and dy [.., tokens, out] with one tap [.., 8] for each of the leading axes that vmap has added.
ffi::Error add_gradient(int32_t device, ffi::AnyBuffer tap, ffi::AnyBuffer x, ffi::AnyBuffer dy,
                        ffi::Result<ffi::AnyBuffer> received, int32_t layout, int64_t examples) {
    return guard([&] {
        const size_t bytes = received->size_bytes();
        std::fill_n(static_cast<char *>(received->untyped_data()), bytes, char{0});
        const size_t taps = count_taps(tap);
        Rows inputs("x", x, taps), outputs("dy", dy, taps);
        for_each_tap(tap, [&](const Tap &of, size_t begin, size_t end) {
            add(of, device, inputs.behind(begin, end), outputs.behind(begin, end), layout, examples,
                static_cast<int64_t>(end - begin));
        });
    });
}

} // namespace

} // namespace speft::jax

#pragma GCC visibility push(default)
XLA_FFI_DEFINE_HANDLER_SYMBOL(speft_jax_add_gradient, speft::jax::add_gradient,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::DeviceOrdinal>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<int32_t>("layout")
                                  .Attr<int64_t>("examples"));
#pragma GCC visibility pop
