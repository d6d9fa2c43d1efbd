#include <algorithm>

#include "backends/cpu/operations.h"
#include "backends/cpu/reference/decay.h"
#include "backends/cpu/reference/matrix_walk.h"
#include "core/base/update/adafactor.h"

namespace speft::cpu {
namespace {

// The selected scalars of a parameter are cut at the ends of rows into strips, so that the sum of a row is one
// strip's; the sums of the columns are added over the strips in order.
constexpr std::uint64_t strip_size = 16384;
constexpr std::uint64_t most_strips = 16;

bool is_factored(const speft_factored_segment &s) { return s.columns > 1 && s.segment.count > 0; }

std::uint64_t count_strips(const speft_factored_segment &s) {
    return is_factored(s) ? std::clamp<std::uint64_t>(s.segment.count / strip_size, 1, most_strips) : 0;
}

struct Strip {
    std::size_t segment;
    std::uint64_t begin, end;  // of the selected scalars
    double *column_sums;       // [columns]
    double *column_counts;
    double row_total = 0;  // Σ r_i over its scalars
};

// The first selected scalar of the row, or of one after it.
std::uint64_t first_of_row(const speft_segment &segment, std::uint64_t index) {
    if (!segment.indices) return index;
    return static_cast<std::uint64_t>(
        std::lower_bound(segment.indices, segment.indices + segment.count, index) - segment.indices);
}

std::vector<Strip> cut(const speft_step_adafactor &arguments, double *scratch) {
    std::vector<Strip> strips;
    for (std::uint64_t s = 0; s < arguments.count; ++s) {
        const speft_factored_segment &segment = arguments.segments[s];
        const std::uint64_t rows = is_factored(segment) ? segment.size / segment.columns : 0;
        const std::uint64_t count = count_strips(segment);
        for (std::uint64_t strip = 0; strip < count; ++strip) {
            const auto place = [&](std::uint64_t number) {
                return first_of_row(segment.segment, rows * number / count * segment.columns);
            };
            strips.push_back({s, place(strip), place(strip + 1), scratch, scratch + segment.columns});
            scratch += 2 * segment.columns;
        }
    }
    return strips;
}

// The strip's rows move; its part of the columns is summed.
void sum_up(const speft_factored_segment &s, Strip &strip) {
    std::fill_n(strip.column_sums, s.columns, 0.0);
    std::fill_n(strip.column_counts, s.columns, 0.0);
    const auto index = [&](std::uint64_t j) { return s.segment.indices ? s.segment.indices[j] : j; };
    MatrixWalk at(s.columns);
    for (std::uint64_t j = strip.begin; j < strip.end;) {
        at.go_to(index(j));
        const std::uint64_t row = at.row(), first = j;
        double sum = 0;
        for (; j < strip.end; ++j) {
            at.go_to(index(j));
            if (at.row() != row) break;
            const double part = adafactor_energy(s, s.gradient[j] * s.gradient_scale);
            sum += part;
            strip.column_sums[at.column()] += part;
            strip.column_counts[at.column()] += 1;
        }
        const auto count = static_cast<double>(j - first);
        s.rows[row] = adafactor_average(s, s.rows[row], sum / count);
        strip.row_total += count * static_cast<double>(s.rows[row]);
    }
}

void move_columns(const speft_factored_segment &s, const Strip *strips, std::uint64_t count, Piece piece) {
    for (std::uint64_t column = piece.begin; column < piece.end; ++column) {
        double sum = 0, selected = 0;
        for (std::uint64_t strip = 0; strip < count; ++strip) {
            sum += strips[strip].column_sums[column];
            selected += strips[strip].column_counts[column];
        }
        if (selected > 0) s.columns_state[column] = adafactor_average(s, s.columns_state[column], sum / selected);
    }
}

float direction(const speft_factored_segment &s, const MatrixWalk &at, float row_mean, std::uint64_t j) {
    return adafactor_direction(s, s.gradient[j], s.rows[at.row()], s.columns > 1 ? s.columns_state[at.column()] : 0,
                               row_mean);
}

template <class Segment>
double sum_directions(const speft_factored_segment &s, const AdafactorScale &scale, const Segment &segment,
                      Piece piece) {
    double sum = 0;
    MatrixWalk at(s.columns);
    for (std::uint64_t j = piece.begin; j < piece.end; ++j) {
        at.go_to(segment.index(j));
        float &row = s.rows[at.row()];
        if (s.columns <= 1) row = adafactor_average(s, row, adafactor_energy(s, s.gradient[j] * s.gradient_scale));
        const double u = direction(s, at, scale.row_mean, j);
        sum += u * u;
    }
    return sum;
}

template <class Segment>
void step(const speft_factored_segment &s, const AdafactorScale &scale, const Segment &segment, Piece piece) {
    const Decay<> decay = make_decay(s);
    MatrixWalk at(s.columns);
    for_each_weight(segment, piece, [&](std::uint64_t j) {
        at.go_to(segment.index(j));
        const float delta = segment.delta(j);
        segment.set_delta(j, update_adafactor(s, decay, direction(s, at, scale.row_mean, j), scale.divisor,
                                              pulled_by(decay, segment, j, delta), delta));
        segment.weight(j) = segment.merged(j);
    });
}

}  // namespace

std::uint64_t step_adafactor_scratch(const speft_backend_device &, const speft_step_adafactor &arguments) {
    std::uint64_t sums = 0;
    for (std::uint64_t s = 0; s < arguments.count; ++s)
        sums += 2 * count_strips(arguments.segments[s]) * arguments.segments[s].columns;
    return sums * sizeof(double);
}

void step_adafactor(const speft_backend_device &device, const speft_step_adafactor &arguments, void *scratch) {
    std::vector<Strip> strips = cut(arguments, static_cast<double *>(scratch));
    parallel_for(device, static_cast<std::int64_t>(strips.size()), [&](std::int64_t index) {
        sum_up(arguments.segments[strips[index].segment], strips[index]);
    });

    std::vector<AdafactorScale> scales(arguments.count);
    std::vector<const Strip *> first_strips(arguments.count);
    Pieces columns(segment_piece_size), pieces(segment_piece_size);
    const Strip *strip = strips.data();
    for (std::uint64_t s = 0; s < arguments.count; ++s) {
        const speft_factored_segment &segment = arguments.segments[s];
        pieces.add(segment.segment.count);
        columns.add(is_factored(segment) ? segment.columns : 0);
        first_strips[s] = strip;
        if (!is_factored(segment)) continue;
        double total = 0;
        for (const Strip *const end = strip + count_strips(segment); strip != end; ++strip) total += strip->row_total;
        scales[s].row_mean = static_cast<float>(total / static_cast<double>(segment.segment.count));
    }
    for_each_piece(device, columns, [&](Piece piece, std::int64_t) {
        const speft_factored_segment &segment = arguments.segments[piece.array];
        move_columns(segment, first_strips[piece.array], count_strips(segment), piece);
    });

    std::vector<double> sums(static_cast<std::size_t>(pieces.count())), squares(arguments.count);
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t index) {
        const speft_factored_segment &segment = arguments.segments[piece.array];
        visit_segment(segment.segment, [&](auto typed) {
            sums[index] = sum_directions(segment, scales[piece.array], typed, piece);
        });
    });
    for (std::int64_t index = 0; index < pieces.count(); ++index) squares[pieces[index].array] += sums[index];
    for (std::uint64_t s = 0; s < arguments.count; ++s) {
        const speft_factored_segment &segment = arguments.segments[s];
        if (segment.segment.count == 0) continue;
        scales[s].divisor = adafactor_divisor(segment, squares[s]);
    }
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t) {
        const speft_factored_segment &segment = arguments.segments[piece.array];
        visit_segment(segment.segment, [&](auto typed) { step(segment, scales[piece.array], typed, piece); });
    });
}

}  // namespace speft::cpu
