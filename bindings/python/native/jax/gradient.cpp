// The backward pass of a linear layer hands its input and output gradient to the adapter; nothing dense is formed.
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "failure.h"
#include "methods.h"
#include "turn.h"
#include "views.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace speft::jax {

namespace {

// A tap tells a backward pass where its gradient goes: as data, so that one program serves all layers and adapters, and
// in digits that bfloat16 and float16 hold exactly, so that it survives a model that casts its parameters.
constexpr size_t tap_length = 8;

struct Tap {
    uint32_t number = 0; // of the adapter
    int64_t parameter = 0;
};

Tap read_tap(const float *digits) {
    std::array<uint32_t, tap_length> read{};
    uint32_t sum = 0;
    for (size_t i = 0; i < tap_length; ++i) {
        const float digit = digits[i];
        if (!(digit >= 0 && digit <= 255 && digit == std::floor(digit)))
            throw Failure(SPEFT_INVALID_ARGUMENT, "tap must reach linear() as the adapter made it; it was changed");
        read[i] = static_cast<uint32_t>(digit);
        if (i + 1 < tap_length) sum += read[i];
    }
    // 7 is added so that zeros are no tap.
    if (read[tap_length - 1] != (sum + 7) % 256)
        throw Failure(SPEFT_INVALID_ARGUMENT, "tap must reach linear() as the adapter made it; it was changed");
    return {read[0] | read[1] << 8 | read[2] << 16 | read[3] << 24,
            static_cast<int64_t>(read[4] | read[5] << 8 | read[6] << 16)};
}

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
    const speft_adapter_state state = turn.state();
    const bool observes = !state.selected || (state.reselection_due && !selects_by_step(state.method));
    speft_gradient gradient{};
    gradient.struct_size = sizeof gradient;
    gradient.kind = SPEFT_GRADIENT_ACTIVATIONS;
    gradient.x = &x;
    gradient.dy = &dy;
    gradient.layout = layout;
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
        speft_tensor x_view = view_of("x", x), dy_view = view_of("dy", dy);
        const auto *digits = static_cast<const float *>(tap.untyped_data());
        const size_t taps = tap.element_count() / tap_length;
        if (taps == 0) return; // vmap over nothing
        const size_t x_stride = x.size_bytes() / taps, dy_stride = dy.size_bytes() / taps;
        const auto x_shape = x.dimensions(), dy_shape = dy.dimensions();
        const int64_t tokens = x_shape[x_shape.size() - 2]; // behind one tap
        std::array<int64_t, 2> inputs{tokens, x_shape[x_shape.size() - 1]};
        std::array<int64_t, 2> outputs{tokens, dy_shape[dy_shape.size() - 1]};
        // Equal taps stand side by side: those of a batch that vmap runs over.
        for (size_t begin = 0, end = 0; begin < taps; begin = end) {
            const float *first = digits + begin * tap_length;
            end = begin + 1;
            while (end < taps && std::equal(first, first + tap_length, digits + end * tap_length)) ++end;
            x_view.data = static_cast<char *>(x.untyped_data()) + begin * x_stride;
            dy_view.data = static_cast<char *>(dy.untyped_data()) + begin * dy_stride;
            inputs[0] = outputs[0] = tokens * static_cast<int64_t>(end - begin);
            x_view.ndim = dy_view.ndim = 2;
            x_view.shape = inputs.data();
            dy_view.shape = outputs.data();
            add(read_tap(first), device, x_view, dy_view, layout, examples, static_cast<int64_t>(end - begin));
        }
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
