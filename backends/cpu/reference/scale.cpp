#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"

namespace speft::cpu {

void scale(const speft_backend_device &device, const speft_scale &arguments) {
    constexpr std::uint64_t piece_size = 16384;
    Pieces pieces(piece_size);
    for (std::uint64_t array = 0; array < arguments.arrays; ++array) pieces.add(arguments.counts[array]);
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t) {
        float *values = arguments.values[piece.array];
        for (std::uint64_t i = piece.begin; i < piece.end; ++i) values[i] *= arguments.factor;
    });
}

}  // namespace speft::cpu
