#include <algorithm>

#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/scalar_types.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t piece_columns = 256;
// Summed by itself, so that the error grows with this and with the number of blocks, not with their product.
constexpr std::uint64_t block_tokens = 256;

template <class Scalar>
void add(const speft_add_column_squares &arguments, Piece piece) {
    const auto *const x = static_cast<const Scalar *>(arguments.x) + piece.begin;
    const std::uint64_t columns = piece.end - piece.begin;
    float total[piece_columns] = {};
    for (std::uint64_t first = 0; first < arguments.tokens; first += block_tokens) {
        const std::uint64_t end = std::min(first + block_tokens, arguments.tokens);
        float block[piece_columns] = {};
        for (std::uint64_t token = first; token < end; ++token) {
            const Scalar *const row = x + token * arguments.columns;
            for (std::uint64_t c = 0; c < columns; ++c) block[c] += to_float(row[c]) * to_float(row[c]);
        }
        for (std::uint64_t c = 0; c < columns; ++c) total[c] += block[c];
    }
    float *const sums = arguments.sums + piece.begin;
    for (std::uint64_t c = 0; c < columns; ++c) sums[c] += arguments.weight * total[c];
}

}  // namespace

void add_column_squares(const speft_backend_device &device, const speft_add_column_squares &arguments) {
    visit_scalar(arguments.x_type, [&](auto scalar) {
        for_each_piece(device, Pieces(piece_columns, arguments.columns),
                       [&](Piece piece, std::int64_t) { add<decltype(scalar)>(arguments, piece); });
    });
}

}  // namespace speft::cpu
