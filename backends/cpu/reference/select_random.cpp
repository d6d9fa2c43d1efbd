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

bool draws_exactly(const speft_select_random &arguments) { return arguments.threshold == 0; }

// The image of [0, k) under the permutation, sorted. A row at a time where there are several: their tasks are the rows.
void draw_row(const speft_select_random &arguments, std::uint64_t row, std::uint32_t *scratch) {
    std::uint32_t *const indices = arguments.indices + row * arguments.k;
    std::uint32_t *const other = scratch + row * arguments.k;
    const Permutation permute(draw64(arguments.key, row), arguments.size);
    for (std::uint64_t j = 0; j < arguments.k; ++j) indices[j] = permute(static_cast<std::uint32_t>(j));
    radix_sort({indices, arguments.k}, {other, arguments.k},
               static_cast<unsigned>(std::bit_width(arguments.size - 1)));
    for (std::uint64_t j = 0; j < arguments.k; ++j) indices[j] += static_cast<std::uint32_t>(row * arguments.size);
}

void draw_exact(const speft_backend_device &device, const speft_select_random &arguments, std::uint32_t *scratch) {
    *arguments.count = arguments.rows * arguments.k;
    if (*arguments.count == 0 || !arguments.indices) return;
    if (arguments.rows > 1) {
        parallel_for(device, static_cast<std::int64_t>(arguments.rows),
                     [&](std::int64_t row) { draw_row(arguments, static_cast<std::uint64_t>(row), scratch); });
        return;
    }
    const Permutation permute(arguments.key, arguments.size);
    for_each_piece(device, Pieces(piece_size, arguments.k), [&](Piece piece, std::int64_t) {
        for (std::uint64_t j = piece.begin; j < piece.end; ++j)
            arguments.indices[j] = permute(static_cast<std::uint32_t>(j));
    });
    radix_sort({arguments.indices, arguments.k}, {scratch, arguments.k},
               static_cast<unsigned>(std::bit_width(arguments.size - 1)));
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

std::uint64_t select_random_scratch(const speft_backend_device &, const speft_select_random &arguments) {
    return draws_exactly(arguments) ? arguments.rows * arguments.k * sizeof(std::uint32_t) : 0;
}

void select_random(const speft_backend_device &device, const speft_select_random &arguments, void *scratch) {
    if (draws_exactly(arguments))
        draw_exact(device, arguments, static_cast<std::uint32_t *>(scratch));
    else
        draw_bernoulli(device, arguments);
}

}  // namespace speft::cpu
