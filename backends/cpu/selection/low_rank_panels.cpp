#include "backends/cpu/selection/low_rank_panels.h"

#include "backends/cpu/parallel.h"

namespace speft::cpu {

std::uint64_t count_panel_values(const speft_score &score) {
    if (score.formula != SPEFT_SCORE_LOW_RANK || score.count == 0) return 0;
    return (score.columns + panel_columns - 1) / panel_columns * panel_columns * score.rank;
}

void make_panels(const speft_backend_device &device, const speft_score &score, float *panels) {
    for_each_piece(device, Pieces(panel_columns, score.columns), [&](Piece piece, std::int64_t) {
        float *values = panels + piece.begin * score.rank;
        for (std::uint32_t q = 0; q < score.rank; ++q)
            for (std::uint64_t column = piece.begin; column < piece.begin + panel_columns; ++column)
                *values++ = column < piece.end ? score.right[column * score.rank + q] : 0.0f;
    });
}

}  // namespace speft::cpu
