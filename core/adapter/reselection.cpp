// Masks that move while training: selection.h's clock, SpIEL's drop and grow, and dynamic masks by a salience.
//
// A reselection makes the training as it will be beside the one that is, and only when all of it is there writes to
// weights: those that regain their original bits.
#include "core/adapter/adapter.h"

#include <cmath>
#include <numeric>

#include "core/base/status.h"
#include "core/selection/budget.h"
#include "core/selection/ranking.h"

namespace speft {
namespace {

std::uint64_t count_of(const std::vector<OwnedList> &lists) {
    return std::accumulate(lists.begin(), lists.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const OwnedList &list) { return sum + list.count; });
}

}  // namespace

// ---- the window of SpIEL-AG ----

std::int64_t Adapter::next_reselection() const {
    return moves_ ? clock_.next_due(reselection_due() ? steps_ : steps_ + 1) : 0;
}

bool Adapter::in_window() const {
    if (!training_ || !training_->candidates) return false;
    const std::int64_t step = steps_ + 1, due = clock_.next_due(step);
    return due > 0 && step >= clock_.window_start(due);
}

// Everything that may fail comes before anything is scaled. A parameter without a selected scalar is taken to have been
// scaled like the others.
void Adapter::follow_host(Training &training, std::size_t first, std::size_t end) const {
    std::vector<double> now(parameters_.size());
    double all_before = 0, all_now = 0;
    for (std::size_t index = first; index < end; ++index) {
        if (parameters_[index].role == Role::dense || !training.gradients.present(index)) continue;
        now[index] = training.gradients.squares(device(), training.active.masks, index);
        all_before += training.arrived[index];
        all_now += now[index];
    }
    for (std::size_t index = first; index < end; ++index) {
        if (parameters_[index].role == Role::dense || !training.gradients.present(index)) continue;
        const bool selected = training.active.masks.slots[index].count > 0;
        const double before = selected ? training.arrived[index] : all_before;
        const double is = selected ? now[index] : all_now;
        const double factor = std::sqrt(is / before);
        // Of a gradient without a norm nothing can be told.
        if (is != before && std::isfinite(factor)) training.candidates->scale(index, factor);
        training.arrived[index] = now[index];
    }
}

// ---- carrying over ----

std::vector<Buffer<std::uint32_t>> Adapter::find_all(const Masks &before, const Masks &after) const {
    std::vector<Buffer<std::uint32_t>> positions(parameters_.size());
    for (std::size_t index = 0; index < parameters_.size(); ++index)
        if (parameters_[index].role == Role::sparse)
            positions[index] = find_positions(device(), list_of(before.slots[index]), list_of(after.slots[index]));
    return positions;
}

void Adapter::carry(const ChangedWeights &from, const ChangedWeights &to,
                    const std::vector<Buffer<std::uint32_t>> &positions) const {
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        const auto count = static_cast<std::uint64_t>(to.masks.slots[index].count);
        if (parameters_[index].role == Role::dense || from.masks.slots[index].count == 0) continue;
        if (!basis(index))
            take(device(), to.originals.data(index), from.originals.data(index), positions[index].data(), count,
                 size_of(parameters_[index].type));
        take(device(), to.deltas.data(index), from.deltas.data(index), positions[index].data(), count,
             size_of(delta_type(index)));
    }
}

void Adapter::carry(const ChangedWeights &from, const ChangedWeights &to) const {
    carry(from, to, find_all(from.masks, to.masks));
}

ChangedWeights Adapter::part_of(const ChangedWeights &weights, const std::vector<OwnedList> &lists) const {
    ChangedWeights part = make_weights(join(device(), parameters_, lists, DenseParameters::none));
    carry(weights, part);
    return part;
}

void Adapter::note_moved(Training &after, Moved which, std::size_t parameter, const OwnedList &list) const {
    (which == Moved::dropped ? after.reselection.dropped : after.reselection.grown) += list.count;
    if (!options_.selection.schedule.track_moves) return;
    OwnedList &kept = after.moved[static_cast<std::size_t>(which)][parameter];
    kept = {{device(), list.count}, list.count};  // the list has room for more
    device().copy_within(kept.buffer.data(), list.buffer.data(), list.count * sizeof(std::uint32_t));
}

std::unique_ptr<Adapter::Training> Adapter::make_moved_training(const Training &before, Masks masks) const {
    std::unique_ptr<Training> after = make_training(std::move(masks));
    after->originals_known = true;
    after->base_hashes = before.base_hashes;
    after->gradients.remember(before.gradients);
    device().zero(after->active.deltas.data(), after->active.deltas.bytes());
    // What was never changed has its original bits in the model still; of the rest they are carried over.
    capture_originals(after->active);
    carry(before.settled, after->active);
    const std::vector<Buffer<std::uint32_t>> found = find_all(before.active.masks, after->active.masks);
    carry(before.active, after->active, found);

    Move move{before.active.masks, after->active.masks, std::vector<const std::uint32_t *>(parameters_.size())};
    move.afresh = !is_spiel(options_.selection.method) && !by_step_ && !options_.selection.schedule.keep_moments;
    for (std::size_t index = 0; index < parameters_.size(); ++index) {
        if (parameters_[index].role == Role::dense) {
            device().copy_within(after->active.originals.data(index), before.active.originals.data(index),
                                 before.active.originals.bytes(index));
            device().copy_within(after->active.deltas.data(index), before.active.deltas.data(index),
                                 before.active.deltas.bytes(index));
            continue;
        }
        const IndexList old = list_of(before.active.masks.slots[index]);
        const IndexList now = list_of(after->active.masks.slots[index]);
        move.positions[index] = found[index].data();
        note_moved(*after, Moved::dropped, index, subtract(device(), old, now));
        note_moved(*after, Moved::grown, index, subtract(device(), now, old));
    }
    after->optimizer = before.optimizer->move(device(), move);
    return after;
}

// ---- SpIEL ----

std::unique_ptr<Adapter::Training> Adapter::move_by_spiel(const Training &before) const {
    const SelectionOptions &options = options_.selection;
    const std::vector<Target> targets = find_targets(parameters_);
    const Masks &masks = before.active.masks;
    const bool together = options.scope == SPEFT_SCOPE_GLOBAL;
    const bool by_change = options.schedule.drop == SPEFT_DROP_CHANGE;

    std::vector<std::uint64_t> budgets;
    if (together)
        budgets = {clock_.replaced(masks.selected, steps_)};
    else
        for (const Target &target : targets)
            budgets.push_back(clock_.replaced(static_cast<std::uint64_t>(masks.slots[target.position].count), steps_));

    // ---- drop ----
    std::vector<Buffer<float>> deltas;  // in float32 where they are not, to be compared with the last ones
    std::vector<speft_score> scores;
    for (const Target &target : targets) {
        const Masks::Slot &slot = masks.slots[target.position];
        const auto count = static_cast<std::uint64_t>(slot.count);
        speft_score score = score_of(SPEFT_SCORE_NEGATIVE_ABS_WEIGHT, count);
        score.weights = before.active.deltas.data(target.position);
        score.weights_type = static_cast<std::int32_t>(delta_type(target.position));
        if (by_change) {
            score.formula = SPEFT_SCORE_NEGATIVE_ABS_DIFFERENCE;
            score.reference = before.last_deltas.data() + slot.offset;
            if (delta_type(target.position) != ScalarType::float32) {
                deltas.push_back(widen_deltas(before.active, target.position));
                score.weights = deltas.back().data();
                score.weights_type = SPEFT_SCALAR_FLOAT32;
            }
        }
        scores.push_back(score);
    }
    const Ranked out = rank_scores(device(), scores, budgets, "deltas");

    // ---- grow ----
    scores.clear();
    for (const Target &target : targets) {
        const Masks::Slot &slot = masks.slots[target.position];
        if (before.candidates) {
            speft_score score = score_of(SPEFT_SCORE_ABS_GRADIENT, 0);
            score.count = static_cast<std::uint64_t>(before.candidates->masks().slots[target.position].count);
            score.sums = before.candidates->sums(target.position);
            score.total_weight = static_cast<float>(options.schedule.window);
            scores.push_back(score);
        } else {
            const FactoredMoments moments = before.optimizer->factored_moments(target.position);
            speft_score score = score_of(SPEFT_SCORE_MOMENTUM, target.size);
            score.left = moments.rows;
            score.right = moments.columns;
            score.columns = moments.column_count;
            score.excluded = slot.indices;
            score.excluded_count = static_cast<std::uint64_t>(slot.count);
            scores.push_back(score);
        }
    }
    const Ranked in = rank_scores(device(), scores, budgets, "candidates");

    std::vector<OwnedList> dropped(parameters_.size()), grown(parameters_.size()), selected(parameters_.size());
    for (std::size_t at = 0; at < targets.size(); ++at) {
        const std::size_t position = targets[at].position;
        const IndexList mask = list_of(masks.slots[position]);
        dropped[position] = pick(device(), mask, out.of(at), out.counts[at]);
        if (before.candidates) {
            const IndexList candidates = list_of(before.candidates->masks().slots[position]);
            grown[position] = pick(device(), candidates, in.of(at), in.counts[at]);
        } else {
            grown[position] = {{device(), in.counts[at]}, in.counts[at]};
            device().copy_within(grown[position].buffer.data(), in.of(at), in.counts[at] * sizeof(std::uint32_t));
        }
        const OwnedList kept = subtract(device(), mask, dropped[position].view());
        selected[position] = unite(device(), kept.view(), grown[position].view());
    }
    std::unique_ptr<Training> after =
        make_moved_training(before, join(device(), parameters_, selected, DenseParameters::all));

    // ---- what the grown start with ----
    if (before.candidates) {
        for (std::size_t at = 0; at < targets.size(); ++at) {
            const std::size_t position = targets[at].position;
            const std::uint64_t count = in.counts[at];
            if (count == 0) continue;
            Buffer<float> sums(device(), count), squares(device(), count);
            take(device(), sums.data(), before.candidates->sums(position), in.of(at), count, sizeof(float));
            take(device(), squares.data(), before.candidates->squares(position), in.of(at), count, sizeof(float));
            const Buffer<std::uint32_t> positions =
                find_positions(device(), grown[position].view(), list_of(after->active.masks.slots[position]));
            after->optimizer->seed(device(), after->active.masks,
                                   {position, sums.data(), squares.data(), count, positions.data(),
                                    static_cast<std::uint32_t>(options.schedule.window)});
        }
    }
    if (by_change) {
        after->last_deltas = Buffer<float>::zeros(device(), after->active.masks.trained);
        for (const Target &target : targets) {
            const Buffer<float> now = widen_deltas(after->active, target.position);
            device().copy_within(after->last_deltas.data() + after->active.masks.slots[target.position].offset,
                                 now.data(), now.count() * sizeof(float));
        }
    }
    const ChangedWeights leaving = part_of(before.active, dropped);
    restore_originals(segments_of(leaving));
    return after;
}

// ---- dynamic masks ----

std::unique_ptr<Adapter::Training> Adapter::move_by_salience(const Training &before,
                                                             const speft_progress *progress) const {
    const auto round = static_cast<std::uint64_t>(steps_ / options_.selection.schedule.reselect_every);
    std::unique_ptr<Training> after = make_moved_training(
        before, choose_masks(device(), options_.selection, selection_input(round), progress));

    std::vector<OwnedList> settled(parameters_.size());
    for (const Target &target : find_targets(parameters_)) {
        const std::size_t index = target.position;
        const OwnedList changed = unite(device(), list_of(before.active.masks.slots[index]),
                                        list_of(before.settled.masks.slots[index]));
        settled[index] = subtract(device(), changed.view(), list_of(after->active.masks.slots[index]));
    }
    ChangedWeights all = make_weights(join(device(), parameters_, settled, DenseParameters::none));
    carry(before.settled, all);
    carry(before.active, all);
    const auto limit = static_cast<std::uint64_t>(options_.selection.schedule.settled_limit);
    if (limit == 0 || count_of(settled) <= limit) {
        after->settled = std::move(all);
        return after;
    }

    const std::vector<Target> targets = find_targets(parameters_);
    std::vector<speft_score> scores;
    for (const Target &target : targets) {
        speft_score score = score_of(SPEFT_SCORE_ABS_WEIGHT, settled[target.position].count);
        score.weights = all.deltas.data(target.position);
        score.weights_type = static_cast<std::int32_t>(delta_type(target.position));
        scores.push_back(score);
    }
    // With one target a ranking of each is one of all.
    const Ranked kept = rank_scores(device(), scores, {limit}, "deltas");
    std::vector<OwnedList> staying(parameters_.size()), leaving(parameters_.size());
    for (std::size_t at = 0; at < targets.size(); ++at) {
        const std::size_t index = targets[at].position;
        staying[index] = pick(device(), settled[index].view(), kept.of(at), kept.counts[at]);
        leaving[index] = subtract(device(), settled[index].view(), staying[index].view());
    }
    after->settled = part_of(all, staying);
    restore_originals(segments_of(part_of(all, leaving)));
    return after;
}

// ---- the call ----

std::optional<Reselection> Adapter::reselect(const speft_progress *progress) {
    const Training &before = training();
    if (!reselection_due()) return std::nullopt;
    require_attached("a reselection");
    if (options_.selection.method == SPEFT_SELECT_SCORE_FUNCTION && !options_.selection.score.compute)
        refuse_state("the adapter was loaded without its score function: give it in the load options");
    if (observation_ && observation_->open())
        refuse_state("an observation is open: finish it before the reselection");
    require_bound();
    std::optional<Observation> again;
    if (observation_) again = make_observation();
    std::unique_ptr<Training> after =
        by_step_                                ? select_step(before)
        : is_spiel(options_.selection.method) ? move_by_spiel(before)
                                              : move_by_salience(before, progress);
    after->reselection.step = steps_;
    after->reselection.settled = after->settled.masks.selected;
    const Reselection moved = after->reselection;
    training_ = std::move(after);
    reselected_ = steps_;
    observation_ = std::move(again);
    device().release_scratch();
    return moved;
}

std::vector<std::uint32_t> Adapter::moved(std::size_t parameter, Moved which) const {
    const Training &state = training();
    if (!options_.selection.schedule.track_moves)
        refuse_state("what moves is not tracked: set track_moves of the schedule options");
    const OwnedList &list = state.moved[static_cast<std::size_t>(which)][parameter];
    std::vector<std::uint32_t> indices(list.count);
    device().copy_to_host(indices.data(), list.buffer.data(), list.count * sizeof(std::uint32_t));
    return indices;
}

}  // namespace speft
