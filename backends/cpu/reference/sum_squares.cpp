#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t piece_size = 16384;

// Lanes are summed side by side, which lets the compiler use vectors, and then in order.
double sum_piece(const float *values, std::uint64_t count) {
    constexpr std::uint64_t lanes = 8;
    double sums[lanes] = {};
    std::uint64_t i = 0;
    for (; i + lanes <= count; i += lanes)
        for (std::uint64_t lane = 0; lane < lanes; ++lane)
            sums[lane] += static_cast<double>(values[i + lane]) * values[i + lane];
    for (; i < count; ++i) sums[0] += static_cast<double>(values[i]) * values[i];
    double sum = 0;
    for (const double lane : sums) sum += lane;
    return sum;
}

}  // namespace

void sum_squares(const speft_backend_device &device, const speft_sum_squares &arguments) {
    Pieces pieces(piece_size);
    for (std::uint64_t array = 0; array < arguments.arrays; ++array) pieces.add(arguments.counts[array]);
    std::vector<double> sums(static_cast<std::size_t>(pieces.count()));
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t index) {
        sums[index] = sum_piece(arguments.values[piece.array] + piece.begin, piece.end - piece.begin);
    });
    double total = 0;
    for (const double sum : sums) total += sum;
    *arguments.sum = total;
}

}  // namespace speft::cpu
