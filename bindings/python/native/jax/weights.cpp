// The calls that move weights, in XLA's own buffers: each output is the buffer of its input.
#include <cstring>
#include <vector>

#include "failure.h"
#include "methods.h"
#include "turn.h"
#include "views.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace speft::jax {

namespace {

enum { CALL_STEP = 0, CALL_MERGE = 1, CALL_UNMERGE = 2, CALL_ATTACH = 3 };

// What `speft.jax` passes of one group, as doubles, beside its learning rate.
constexpr size_t group_length = 6;

ffi::AnyBuffer input(const ffi::RemainingArgs &arguments, size_t index) {
    return arguments.get<ffi::AnyBuffer>(index).value();
}

// The learning rates come as data, so that one program serves them all: float32 [groups] where they are computed in it,
// or as the bits of doubles, uint32 [groups, 2].
double read_rate(const ffi::AnyBuffer &rates, size_t group) {
    if (rates.element_type() == ffi::F32) return static_cast<const float *>(rates.untyped_data())[group];
    double rate = 0;
    std::memcpy(&rate, static_cast<const char *>(rates.untyped_data()) + group * sizeof rate, sizeof rate);
    return rate;
}

// Lends all weights for the time of a call: where they lie changes with each.
class Binding {
public:
    Binding(speft_adapter *adapter, const ffi::RemainingArgs &arguments, size_t first,
            const ffi::RemainingRets &results)
        : adapter_(adapter) {
        try {
            for (size_t i = 0; i < results.size(); ++i) bind(i, input(arguments, first + i), results);
        } catch (...) {
            unbind();
            throw;
        }
    }
    Binding(const Binding &) = delete;
    ~Binding() { unbind(); }

private:
    void bind(size_t index, const ffi::AnyBuffer &given, const ffi::RemainingRets &results) {
        ffi::Result<ffi::AnyBuffer> weights = results.get<ffi::AnyBuffer>(index).value();
        // XLA copies what it may not overwrite before the call; should it leave the copy to us, it is made here.
        if (weights->untyped_data() != given.untyped_data())
            std::memcpy(weights->untyped_data(), given.untyped_data(), given.size_bytes());
        const speft_tensor data = view_of("weights", *weights);
        const speft_weights lent{sizeof lent, SPEFT_WEIGHTS_DENSE, &data, nullptr};
        const auto parameter = static_cast<int64_t>(index);
        check([&](auto **error) { return speft_bind_weights(adapter_, parameter, &lent, error); });
        ++bound_;
    }

    // Unbinding fails only when another call runs, and this one has its turn.
    void unbind() {
        for (int64_t parameter = 0; parameter < bound_; ++parameter)
            speft_bind_weights(adapter_, parameter, nullptr, nullptr);
        bound_ = 0;
    }

    speft_adapter *adapter_;
    int64_t bound_ = 0;
};

struct StepOptions {
    ffi::Span<const int64_t> dense; // the parameters whose gradients come as arrays
    ffi::Span<const double> groups; // [groups, group_length]
    double clip_norm;               // 0: not clipped
    double gradient_scale;
    int32_t allow_missing;
};

void accumulate(const Turn &turn, const ffi::RemainingArgs &arguments, size_t first, const StepOptions &options) {
    for (size_t i = 0; i < options.dense.size(); ++i) {
        const speft_tensor dense = view_of("gradient", input(arguments, first + i));
        speft_gradient gradient{};
        gradient.struct_size = sizeof gradient;
        gradient.kind = SPEFT_GRADIENT_DENSE;
        gradient.dense = &dense;
        check([&](auto **error) { return speft_accumulate(turn.adapter(), options.dense[i], &gradient, error); });
    }
}

speft_reselection reselect(const Turn &turn) {
    speft_reselection moved{};
    moved.struct_size = sizeof moved;
    check([&](auto **error) { return speft_reselect(turn.adapter(), nullptr, &moved, error); });
    turn.host().moves.push_back({moved, turn.state().selected_scalars});
    return moved;
}

// Where each step has its own scalars: its gradient is whole by now, and the rest of the step is of those alone. True
// where weights have been given back: in a basis none are, since their deltas are beside them.
bool select_scalars(const Turn &turn) {
    const speft_adapter_state state = turn.state();
    if (!state.reselection_due || !selects_by_step(state.method)) return false;
    return reselect(turn).dropped > 0 && state.method != SPEFT_SELECT_SPARSEGRAD;
}

void step(const Turn &turn, const ffi::AnyBuffer &rates, const StepOptions &options) {
    const size_t count = options.groups.size() / group_length;
    std::vector<speft_hyperparameters> all(count);
    std::vector<const speft_hyperparameters *> groups(count);
    for (size_t i = 0; i < count; ++i) {
        const double *given = options.groups.begin() + i * group_length;
        speft_hyperparameters_init(&all[i], sizeof all[i]);
        all[i].learning_rate = read_rate(rates, i);
        all[i].beta1 = given[0];
        all[i].beta2 = given[1];
        all[i].epsilon = given[2];
        all[i].weight_decay = given[3];
        all[i].momentum = given[4];
        all[i].decay = static_cast<int32_t>(given[5]);
        groups[i] = &all[i];
    }
    speft_step_options taken;
    speft_step_options_init(&taken, sizeof taken);
    taken.groups = groups.data();
    taken.group_count = static_cast<int32_t>(count);
    taken.allow_missing = options.allow_missing;
    taken.gradient_scale = options.gradient_scale;
    if (options.clip_norm != 0)
        check([&](auto **error) {
            return speft_clip_gradient(turn.adapter(), options.clip_norm, nullptr, error);
        });
    check([&](auto **error) { return speft_step(turn.adapter(), &taken, error); });
    const speft_adapter_state state = turn.state();
    if (state.reselection_due && needs_no_observation(state.method)) reselect(turn);
}

// Arguments: the adapter's number, learning rates, what taps have given back (only their order matters), dense
// gradients, weights. Results: the weights.
ffi::Error move_weights(int32_t device, ffi::AnyBuffer number, ffi::AnyBuffer rates, ffi::RemainingArgs arguments,
                        ffi::RemainingRets results, int32_t call, int64_t taps, ffi::Span<const int64_t> dense,
                        ffi::Span<const double> groups, double clip_norm, double gradient_scale,
                        int32_t allow_missing) {
    return guard([&] {
        const StepOptions options{dense, groups, clip_norm, gradient_scale, allow_missing};
        const auto first = static_cast<size_t>(taps);
        const Turn turn(*static_cast<const uint32_t *>(number.untyped_data()), device);
        turn.require_weights();
        const Binding binding(turn.adapter(), arguments, first + dense.size(), results);
        switch (call) {
        case CALL_MERGE:
            check([&](auto **error) { return speft_merge(turn.adapter(), error); });
            return;
        case CALL_ATTACH:
            check([&](auto **error) { return speft_attach(turn.adapter(), error); });
            return;
        case CALL_UNMERGE:
            check([&](auto **error) { return speft_unmerge(turn.adapter(), error); });
            return;
        default:
            try {
                accumulate(turn, arguments, first, options);
                turn.host().weights_lost = select_scalars(turn);
                step(turn, rates, options);
                turn.host().weights_lost = false;
            } catch (...) {
                // The host computes its gradients anew: what is left of these would be added to them.
                speft_clear_gradient(turn.adapter(), -1, nullptr);
                throw;
            }
        }
    });
}

} // namespace

} // namespace speft::jax

#pragma GCC visibility push(default)
XLA_FFI_DEFINE_HANDLER_SYMBOL(speft_jax_move_weights, speft::jax::move_weights,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::DeviceOrdinal>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .RemainingArgs()
                                  .RemainingRets()
                                  .Attr<int32_t>("call")
                                  .Attr<int64_t>("taps")
                                  .Attr<ffi::Span<const int64_t>>("dense")
                                  .Attr<ffi::Span<const double>>("groups")
                                  .Attr<double>("clip_norm")
                                  .Attr<double>("gradient_scale")
                                  .Attr<int32_t>("allow_missing"));
#pragma GCC visibility pop
