#include "core/optimizer/adamw.h"

#include <cmath>

namespace speft {

AdamW::AdamW(const OptimizerOptions &options, const std::vector<Parameter> &parameters)
    : Optimizer(parameters), options_(options), moment1_({"moment1", "scales1", true, 1}, options.state),
      moment2_({"moment2", "scales2", false, 2}, options.state), ages_(parameters.size()), last_(parameters.size()),
      corrections_(std::make_shared<std::vector<BiasCorrections>>()) {}

AdamW::AdamW(const AdamW &before, Device &device, const Move &move)
    : Optimizer(before, move), options_(before.options_),
      moment1_(before.moment1_.moved(device, move, before.fates_of(move))),
      moment2_(before.moment2_.moved(device, move, before.fates_of(move))),
      ages_(options_.lazy ? Ages(before.last_.size())
                          : before.ages_.moved(device, move, before.fates_of(move), updates())),
      lazy_ages_(before.lazy_ages_.moved(device, move, before.fates_of(move))), last_(before.last_),
      corrections_(before.corrections_) {}

std::vector<OptimizerState> AdamW::state() const {
    std::vector<OptimizerState> state;
    moment1_.list(state);
    moment2_.list(state);
    ages_.list(state);
    lazy_ages_.list(state);
    return state;
}

void *AdamW::allocate_state(Device &device, const Masks &masks, const char *name, StateType type,
                            std::uint64_t count) {
    if (void *const values = moment1_.allocate(device, masks, name, type, count)) return values;
    if (void *const values = moment2_.allocate(device, masks, name, type, count)) return values;
    if (options_.lazy) return lazy_ages_.allocate(device, masks, name, type, count);
    return options_.age == SPEFT_AGE_PER_WEIGHT ? ages_.allocate(device, masks, name, type, count) : nullptr;
}

void AdamW::check_restored(Device &device, const Masks &masks) { ages_.check(device, masks, updates()); }

std::uint64_t AdamW::state_bytes(std::uint64_t count) const {
    return 2 * Moments::bytes(options_.state, count) +
           (options_.age == SPEFT_AGE_PER_WEIGHT ? count * sizeof(std::uint16_t) : 0);
}

std::uint64_t AdamW::table_bytes() const {
    const Hyperparameters defaults;
    return BiasCorrections(defaults.beta1, defaults.beta2).first_bytes();
}

std::unique_ptr<Optimizer> AdamW::move(Device &device, const Move &move) const {
    return std::unique_ptr<Optimizer>(new AdamW(*this, device, move));
}

void AdamW::seed(Device &device, const Masks &masks, const Seeds &seeds) {
    const Last &last = last_[seeds.parameter];
    const double window = seeds.window;
    const auto mean_weight = [&](double beta) { return static_cast<float>((1 - std::pow(beta, window)) / window); };
    moment1_.start(device, masks);
    moment2_.start(device, masks);
    moment1_.put(device, masks, seeds.parameter, seeds.sums, seeds.count, mean_weight(last.beta1), seeds.positions,
                 last.rounding_key);
    moment2_.put(device, masks, seeds.parameter, seeds.squares, seeds.count, mean_weight(last.beta2),
                 seeds.positions, last.rounding_key);
    ages_.set(device, masks, seeds.parameter, seeds.positions, updates()[seeds.parameter], seeds.window);
}

void AdamW::copy_ages(Device &device, const Masks &masks, std::size_t parameter, std::int64_t *ages) const {
    if (is_lazy(parameter))
        lazy_ages_.copy(device, masks, parameter, ages);
    else
        ages_.copy(device, masks, parameter, updates()[parameter], ages);
}

BiasCorrections &AdamW::corrections_for(const Hyperparameters &hyperparameters) {
    for (BiasCorrections &corrections : *corrections_)
        if (corrections.is_for(hyperparameters.beta1, hyperparameters.beta2)) return corrections;
    return corrections_->emplace_back(hyperparameters.beta1, hyperparameters.beta2);
}

void AdamW::apply(Device &device, const Masks &masks, const std::vector<Update> &updates, double gradient_scale) {
    moment1_.start(device, masks);
    moment2_.start(device, masks);
    if (options_.lazy) lazy_ages_.start(device, masks);

    const std::vector<std::uint32_t> &before = this->updates();
    // All tables first: growing one moves it.
    for (const Update &update : updates)
        corrections_for(*update.hyperparameters)
            .reach(device, ages_.oldest(update.parameter, before[update.parameter] + 1));

    const bool coupled = options_.kind == SPEFT_OPTIMIZER_ADAM;
    std::vector<speft_adamw_segment> segments;
    for (const Update &update : updates) {
        const Hyperparameters &chosen = *update.hyperparameters;
        const BiasCorrections &corrections = corrections_for(chosen);
        const std::uint32_t rounding_key = update.segment.rounding_key;
        const bool added_to_gradient = coupled && chosen.decay != SPEFT_DECAY_AFTER_UPDATE;
        speft_adamw_segment segment{};
        segment.segment = update.segment;
        segment.gradient = update.gradient;
        segment.moment1 = moment1_.of(masks, update.parameter, rounding_key);
        segment.moment2 = moment2_.of(masks, update.parameter, rounding_key);
        segment.cohorts = ages_.cohorts(masks, update.parameter);
        segment.births = ages_.births(update.parameter);
        segment.ages = is_lazy(update.parameter) ? lazy_ages_.of(masks, update.parameter) : nullptr;
        segment.age = before[update.parameter] + 1;
        segment.decay_kind = chosen.decay;
        segment.coupled = coupled;
        segment.learning_rate = static_cast<float>(chosen.learning_rate);
        segment.decay =
            static_cast<float>(added_to_gradient ? chosen.weight_decay : chosen.learning_rate * chosen.weight_decay);
        segment.gradient_scale = static_cast<float>(gradient_scale);
        segment.beta1 = static_cast<float>(chosen.beta1);
        segment.one_minus_beta1 = static_cast<float>(1 - chosen.beta1);
        segment.beta2 = static_cast<float>(chosen.beta2);
        segment.one_minus_beta2 = static_cast<float>(1 - chosen.beta2);
        segment.epsilon = static_cast<float>(chosen.epsilon);
        segment.corrections = corrections.count();
        segment.corrections1 = corrections.first();
        segment.corrections2 = corrections.second();
        segments.push_back(segment);
    }
    device.run(speft_step_adamw{segments.data(), segments.size()});
    for (const Update &update : updates)
        last_[update.parameter] = {update.hyperparameters->beta1, update.hyperparameters->beta2,
                                   update.segment.rounding_key};
}

}  // namespace speft
