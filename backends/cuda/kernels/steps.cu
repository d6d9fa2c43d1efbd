// Steps of the optimizers that keep moments: AdamW and Adam, SGD, Lion. One launch for all segments that a
// kernel is for; every thread takes four neighbouring scalars.
#include <algorithm>
#include <iterator>
#include <type_traits>
#include <vector>

#include "backends/cuda/kernels/grouped.h"
#include "backends/cuda/kernels/moments.h"
#include "backends/cuda/kernels/segment_quad.h"
#include "backends/cuda/operations.h"
#include "core/base/update/adamw.h"
#include "core/base/update/lion.h"
#include "core/base/update/sgd.h"

namespace speft::cuda {
namespace {

// `common_age`: neither `cohorts` nor `ages`, which spares registers.
template <class Moments, bool common_age>
__global__ void __launch_bounds__(block_threads, common_age ? 4 : 3) update_adamw_segments(
    const __grid_constant__ Batch<speft_adamw_segment> batch) {
    const typename Moments::Codes codes;
    const BlockTask task = find_task(batch, blockIdx.x);
    const speft_adamw_segment &s = batch.items[task.item];
    const speft_segment &segment = s.segment;
    const Decay<> decay(s.decay_kind, s.decay, segment.absolute != 0);
    Moments moments1(s.moment1, true, codes), moments2(s.moment2, false, codes);
    const bool lazy = !common_age && s.ages;
    const float common_correction1 = common_age ? s.corrections1[correction_of(s, s.age)] : 0;
    const float common_correction2 = common_age ? s.corrections2[correction_of(s, s.age)] : 0;
    for_each_quad<Moments::rounds>(task.block, segment.count, [&](std::uint64_t j, unsigned mask) {
        SegmentQuad quad(segment, j, mask);
        const Quad gradients = Quad::load<4>(s.gradient, j, mask);
        moments1.load(j, mask);
        moments2.load(j, mask);
        Quad ages;
        if (!common_age) ages = Quad::load<2>(lazy ? s.ages : s.cohorts, j, mask);
        if (decay.is_of_weight()) quad.load_weights(segment);

        unsigned moved = mask;
        Quad grown;
        float corrections1[quad_size], corrections2[quad_size];
        if (common_age) {
            for (unsigned i = 0; i < quad_size; ++i) {
                corrections1[i] = common_correction1;
                corrections2[i] = common_correction2;
            }
        } else {
            std::uint32_t own_ages[quad_size];
            for (unsigned i = 0; i < quad_size; ++i) {
                const auto kept = static_cast<std::uint16_t>(ages.bits<2>(i));
                own_ages[i] = lazy ? grow_older(kept) : count_updates(s.age, s.births[kept]);
                grown.set<2>(i, own_ages[i]);
                if (lazy && gradients.get<float>(i) == 0) moved &= ~(1u << i);
            }
            for (unsigned i = 0; i < quad_size; ++i) {
                const std::uint32_t place = correction_of(s, own_ages[i]);
                corrections1[i] = s.corrections1[place];
                corrections2[i] = s.corrections2[place];
            }
        }

        float deltas[quad_size], values1[quad_size], values2[quad_size];
        for (unsigned i = 0; i < quad_size; ++i) {
            const AdamwState before = {quad.delta(segment, i), moments1.value(i), moments2.value(i)};
            const AdamwState after =
                update_adamw(s, decay, s.coupled != 0, corrections1[i], corrections2[i], gradients.get<float>(i),
                             pulled_by(decay, segment, quad, i), before);
            const bool moves = moved >> i & 1;
            deltas[i] = after.delta;
            values1[i] = moves ? after.moment1 : before.moment1;
            values2[i] = moves ? after.moment2 : before.moment2;
        }
        moments1.store(j, mask, moved, values1);
        moments2.store(j, mask, moved, values2);
        if (lazy) grown.store<2>(s.ages, j, moved);
        quad.store(segment, moved, deltas);
    });
}

template <class Moments>
__global__ void __launch_bounds__(block_threads, 4) update_sgd_segments(
    const __grid_constant__ Batch<speft_sgd_segment> batch) {
    const typename Moments::Codes codes;
    const BlockTask task = find_task(batch, blockIdx.x);
    const speft_sgd_segment &s = batch.items[task.item];
    const speft_segment &segment = s.segment;
    const Decay<> decay(s.decay_kind, s.decay, segment.absolute != 0);
    Moments moments(s.velocity, true, codes);
    const bool has_momentum = s.velocity.values != nullptr;
    for_each_quad<Moments::rounds>(task.block, segment.count, [&](std::uint64_t j, unsigned mask) {
        SegmentQuad quad(segment, j, mask);
        const Quad gradients = Quad::load<4>(s.gradient, j, mask);
        if (has_momentum) moments.load(j, mask);
        if (decay.is_of_weight()) quad.load_weights(segment);
        float deltas[quad_size], velocities[quad_size];
        for (unsigned i = 0; i < quad_size; ++i) {
            const float delta = quad.delta(segment, i);
            float change = sgd_gradient(s, decay, gradients.get<float>(i), delta,
                                        [&] { return quad.weight(segment, i); });
            if (has_momentum) change = velocities[i] = move_velocity(s, moments.value(i), change);
            deltas[i] = update_sgd(s, decay, delta, change);
        }
        if (has_momentum) moments.store(j, mask, mask, velocities);
        quad.store(segment, mask, deltas);
    });
}

template <class Moments>
__global__ void __launch_bounds__(block_threads, 4) update_lion_segments(
    const __grid_constant__ Batch<speft_lion_segment> batch) {
    const typename Moments::Codes codes;
    const BlockTask task = find_task(batch, blockIdx.x);
    const speft_lion_segment &s = batch.items[task.item];
    const speft_segment &segment = s.segment;
    const Decay<> decay(s.decay_kind, s.decay, segment.absolute != 0);
    Moments moments(s.moment, true, codes);
    for_each_quad<Moments::rounds>(task.block, segment.count, [&](std::uint64_t j, unsigned mask) {
        SegmentQuad quad(segment, j, mask);
        const Quad gradients = Quad::load<4>(s.gradient, j, mask);
        moments.load(j, mask);
        if (decay.is_of_weight()) quad.load_weights(segment);
        float deltas[quad_size], values[quad_size];
        for (unsigned i = 0; i < quad_size; ++i) {
            const LionState state = update_lion(s, decay, gradients.get<float>(i), pulled_by(decay, segment, quad, i),
                                                {quad.delta(segment, i), moments.value(i)});
            deltas[i] = state.delta;
            values[i] = state.moment;
        }
        moments.store(j, mask, mask, values);
        quad.store(segment, mask, deltas);
    });
}

template <class Moments>
__global__ void __launch_bounds__(block_threads, 4) convert(const __grid_constant__ speft_convert_moments c) {
    const typename Moments::Codes codes;
    Moments moments(c.moments, c.is_signed != 0, codes);
    for_each_quad<Moments::rounds>(blockIdx.x, c.count, [&](std::uint64_t j, unsigned mask) {
        if (c.to_float) {
            moments.load(j, mask);
            Quad quad;
            for (unsigned i = 0; i < quad_size; ++i) quad.put(i, moments.value(i));
            quad.store<4>(c.values, j, mask);
        } else {
            const Quad quad = Quad::load<4>(c.values, j, mask);
            float values[quad_size];
            for (unsigned i = 0; i < quad_size; ++i) values[i] = quad.get<float>(i);
            moments.store(j, mask, mask, values);
        }
    });
}

// visitor(type, std::type_identity<Moments>) for each type that moments are kept in.
template <class Visitor>
void for_each_type(Visitor &&visitor) {
    visitor(SPEFT_STATE_FLOAT32, std::type_identity<Float32Moments>());
    visitor(SPEFT_STATE_BFLOAT16, std::type_identity<BFloat16Moments>());
    visitor(SPEFT_STATE_BLOCKS8, std::type_identity<Blocks8Moments>());
}

// One launch for the segments that `belongs` says a kernel is for.
template <class Item, class Belongs>
void step(const speft_backend_device &device, const char *name, const Item *segments, std::uint64_t count,
          unsigned rounds, void (*kernel)(Batch<Item>), Belongs &&belongs) {
    std::vector<Item> chosen;
    std::copy_if(segments, segments + count, std::back_inserter(chosen), belongs);
    for_each_batch(
        chosen.data(), chosen.size(), elements_per_block<1> * rounds, [](const Item &s) { return s.segment.count; },
        [&](const Batch<Item> &batch, unsigned blocks) { launch(device, name, {.blocks = blocks}, kernel, batch); });
}

}  // namespace

void step_adamw(speft_backend_device &device, const speft_step_adamw &arguments, void *) {
    const auto run = [&](unsigned rounds, void (*kernel)(Batch<speft_adamw_segment>), std::int32_t type, bool common) {
        step(device, "step_adamw", arguments.segments, arguments.count, rounds, kernel,
             [&](const speft_adamw_segment &s) {
                 return s.moment1.type == type && (!s.cohorts && !s.ages) == common;
             });
    };
    for_each_type([&](std::int32_t type, auto moments) {
        using Moments = typename decltype(moments)::type;
        run(Moments::rounds, update_adamw_segments<Moments, true>, type, true);
        run(Moments::rounds, update_adamw_segments<Moments, false>, type, false);
    });
}

void step_sgd(speft_backend_device &device, const speft_step_sgd &arguments, void *) {
    for_each_type([&](std::int32_t type, auto moments) {
        using Moments = typename decltype(moments)::type;
        step(device, "step_sgd", arguments.segments, arguments.count, Moments::rounds, update_sgd_segments<Moments>,
             [&](const speft_sgd_segment &s) { return s.velocity.type == type; });
    });
}

void step_lion(speft_backend_device &device, const speft_step_lion &arguments, void *) {
    for_each_type([&](std::int32_t type, auto moments) {
        using Moments = typename decltype(moments)::type;
        step(device, "step_lion", arguments.segments, arguments.count, Moments::rounds, update_lion_segments<Moments>,
             [&](const speft_lion_segment &s) { return s.moment.type == type; });
    });
}

void convert_moments(speft_backend_device &device, const speft_convert_moments &arguments, void *) {
    for_each_type([&](std::int32_t type, auto moments) {
        using Moments = typename decltype(moments)::type;
        if (arguments.moments.type != type) return;
        constexpr std::uint64_t per_block = elements_per_block<Moments::rounds>;
        const auto blocks = static_cast<unsigned>((arguments.count + per_block - 1) / per_block);
        launch(device, "convert_moments", {.blocks = blocks}, convert<Moments>, arguments);
    });
}

}  // namespace speft::cuda
