#include "backends/cpu/selection/right_factors.h"

#include <cmath>

#include "backends/cpu/parallel.h"

namespace speft::cpu {
namespace {

bool has_roots(const speft_score &score) {
    return score.formula == SPEFT_SCORE_MOMENTUM || (score.formula == SPEFT_SCORE_SCALED_WEIGHT && !score.left);
}

void write_panel(const speft_score &score, Piece columns, float *panel) {
    for (std::uint32_t q = 0; q < score.rank; ++q)
        for (std::uint64_t column = columns.begin; column < columns.begin + panel_columns; ++column)
            *panel++ = column < columns.end ? score.right[column * score.rank + q] : 0.0f;
}

}  // namespace

std::uint64_t count_right_factors(const speft_score &score) {
    if (score.count == 0) return 0;
    if (has_roots(score)) return score.columns;
    if (score.formula != SPEFT_SCORE_LOW_RANK) return 0;
    return (score.columns + panel_columns - 1) / panel_columns * panel_columns * score.rank;
}

void prepare_right_factors(const speft_backend_device &device, const speft_score &score, float *prepared) {
    if (count_right_factors(score) == 0) return;
    for_each_piece(device, Pieces(panel_columns, score.columns), [&](Piece columns, std::int64_t) {
        if (!has_roots(score)) return write_panel(score, columns, prepared + columns.begin * score.rank);
        for (std::uint64_t column = columns.begin; column < columns.end; ++column)
            prepared[column] = std::sqrt(score.right[column]);
    });
}

}  // namespace speft::cpu
