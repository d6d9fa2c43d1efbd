#include "core/optimizer/factored.h"

#include <cstring>

namespace speft {

Factored::Factored(const std::vector<Parameter> &parameters) : Optimizer(parameters) {
    for (const Parameter &parameter : parameters) {
        Place place;
        place.size = parameter.size;
        if (parameter.shape.size() > 1 && parameter.size > 0)
            place.columns = parameter.size / static_cast<std::uint64_t>(parameter.shape[0]);
        place.first_row = row_count_;
        place.first_column = column_count_;
        row_count_ += place.row_count();
        column_count_ += place.column_count();
        places_.push_back(place);
    }
}

Factored::Factored(const Factored &before, Device &device, const Move &move)
    : Optimizer(before, move), places_(before.places_), row_count_(before.row_count_),
      column_count_(before.column_count_) {
    if (!before.rows_) return;
    start(device);
    const std::vector<Fate> fates = fates_of(move);
    for (std::size_t parameter = 0; parameter < fates.size(); ++parameter) {
        if (fates[parameter] == Fate::restarts) continue;
        const Place &place = places_[parameter];
        device.copy_within(rows_.data() + place.first_row, before.rows_.data() + place.first_row,
                           place.row_count() * sizeof(float));
        device.copy_within(columns_.data() + place.first_column, before.columns_.data() + place.first_column,
                           place.column_count() * sizeof(float));
    }
}

void Factored::start(Device &device) {
    if (!rows_) rows_ = Buffer<float>::zeros(device, row_count_);
    if (!columns_) columns_ = Buffer<float>::zeros(device, column_count_);
}

std::vector<OptimizerState> Factored::state() const {
    std::vector<OptimizerState> state;
    if (rows_) state.push_back({"rows", StateType::float32, rows_.data(), row_count_});
    if (columns_) state.push_back({"columns", StateType::float32, columns_.data(), column_count_});
    return state;
}

void *Factored::allocate_state(Device &device, const Masks &, const char *name, StateType type,
                               std::uint64_t count) {
    const auto is = [&](const char *known, std::uint64_t known_count) {
        return std::strcmp(name, known) == 0 && type == StateType::float32 && count == known_count;
    };
    if (!is("rows", row_count_) && !is("columns", column_count_)) return nullptr;
    start(device);
    return is("rows", row_count_) ? rows_.data() : columns_.data();
}

speft_factored_segment Factored::segment_of(const Update &update, double gradient_scale) const {
    const Hyperparameters &chosen = *update.hyperparameters;
    const Place &place = places_[update.parameter];
    speft_factored_segment segment{};
    segment.segment = update.segment;
    segment.gradient = update.gradient;
    segment.rows = rows_.data() + place.first_row;
    if (place.columns > 1) segment.columns_state = columns_.data() + place.first_column;
    segment.size = place.size;
    segment.columns = place.columns;
    segment.decay_kind = chosen.decay;
    segment.learning_rate = static_cast<float>(chosen.learning_rate);
    segment.decay = static_cast<float>(chosen.learning_rate * chosen.weight_decay);
    segment.gradient_scale = static_cast<float>(gradient_scale);
    return segment;
}

std::vector<speft_factored_segment> Factored::sizes_of(const std::vector<std::uint64_t> &counts) const {
    std::vector<speft_factored_segment> segments;
    for (std::size_t parameter = 0; parameter < places_.size(); ++parameter) {
        speft_factored_segment segment{};
        segment.segment.count = counts[parameter];
        segment.size = places_[parameter].size;
        segment.columns = places_[parameter].columns;
        segments.push_back(segment);
    }
    return segments;
}

FactoredMoments Factored::moments_of(std::size_t parameter) const {
    if (!rows_) return {};
    const Place &place = places_[parameter];
    return {rows_.data() + place.first_row, place.columns > 1 ? columns_.data() + place.first_column : nullptr,
            place.columns};
}

}  // namespace speft
