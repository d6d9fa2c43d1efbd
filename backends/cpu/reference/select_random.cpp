#include <bit>
#include <numeric>

#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/reference/radix_sort.h"
#include "core/base/random.h"
#include "core/base/status.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t piece_size = 16384;

// The image of [0, k) under the permutation, sorted.
void draw_exact(const speft_backend_device &device, const speft_select_random &arguments) {
    *arguments.count = arguments.k;
    if (arguments.k == 0 || !arguments.indices) return;
    const Permutation permute(arguments.key, arguments.size);
    for_each_piece(device, Pieces(piece_size, arguments.k), [&](Piece piece, std::int64_t) {
        for (std::uint64_t j = piece.begin; j < piece.end; ++j)
            arguments.indices[j] = permute(static_cast<std::uint32_t>(j));
    });
    radix_sort({arguments.indices, arguments.k}, static_cast<unsigned>(std::bit_width(arguments.size - 1)));
}

// Counts the draws of each piece, then writes each piece to its place.
void draw_bernoulli(const speft_backend_device &device, const speft_select_random &arguments) {
    const auto drawn = [&](std::uint64_t index) { return draw64(arguments.key, index) < arguments.threshold; };
    const Pieces pieces(piece_size, arguments.size);
    std::vector<std::uint64_t> ends(static_cast<std::size_t>(pieces.count()));
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t index) {
        for (std::uint64_t i = piece.begin; i < piece.end; ++i) ends[index] += drawn(i);
    });
    std::partial_sum(ends.begin(), ends.end(), ends.begin());
    *arguments.count = ends.empty() ? 0 : ends.back();
    if (!arguments.indices) return;
    if (*arguments.count > arguments.k)
        refuse("indices has room for " + std::to_string(arguments.k) + " of " + std::to_string(*arguments.count) +
               " drawn");
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t index) {
        std::uint64_t place = index > 0 ? ends[index - 1] : 0;
        for (std::uint64_t i = piece.begin; i < piece.end; ++i)
            if (drawn(i)) arguments.indices[place++] = static_cast<std::uint32_t>(i);
    });
}

}  // namespace

void select_random(const speft_backend_device &device, const speft_select_random &arguments) {
    if (arguments.threshold == 0)
        draw_exact(device, arguments);
    else
        draw_bernoulli(device, arguments);
}

}  // namespace speft::cpu
