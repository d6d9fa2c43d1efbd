// Sorted lists of indices: where one has the members of another, their union, their difference.
#include <algorithm>
#include <limits>
#include <span>

#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"

namespace speft::cpu {
namespace {

using Indices = std::span<const std::uint32_t>;
constexpr std::uint64_t piece_size = 16384;
constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

// How many of them are below `index`.
std::uint64_t count_below(Indices sorted, std::uint64_t index) {
    return static_cast<std::uint64_t>(std::lower_bound(sorted.begin(), sorted.end(), index) - sorted.begin());
}

// The same, at least `from` of them being below, in steps that double: quick where the answer is near.
std::uint64_t count_below_from(Indices sorted, std::uint64_t from, std::uint32_t index) {
    std::uint64_t step = 1;
    while (from + step <= sorted.size() && sorted[from + step - 1] < index) {
        from += step;
        step *= 2;
    }
    const std::uint64_t left = std::min(step, sorted.size() - from);
    return from + count_below(sorted.subspan(from, left), index);
}

void find_piece(const speft_find_indices &arguments, Piece piece) {
    const Indices sorted(arguments.sorted, arguments.sorted_count);
    std::uint64_t place = count_below(sorted, arguments.wanted[piece.begin]);
    for (std::uint64_t j = piece.begin; j < piece.end; ++j) {
        const std::uint32_t index = arguments.wanted[j];
        place = count_below_from(sorted, place, index);
        const bool found = place < sorted.size() && sorted[place] == index;
        arguments.positions[j] = found ? arguments.base + static_cast<std::uint32_t>(place) : none;
    }
}

// ---- combining ----

// Two lists, of which the first is cut into pieces; the second is cut where it falls between them.
struct Lists {
    Indices first;
    Indices second;

    // The longer one first where that makes no difference: it has the more pieces.
    explicit Lists(const speft_combine_indices &arguments)
        : first(arguments.first, arguments.first_count), second(arguments.second, arguments.second_count) {
        if (arguments.combination == SPEFT_COMBINE_UNION && first.size() < second.size()) std::swap(first, second);
    }

    Pieces pieces() const { return Pieces(piece_size, first.size()); }

    Lists take(Piece piece) const {
        const std::uint64_t begin = piece.begin == 0 ? 0 : count_below(second, first[piece.begin]);
        const std::uint64_t end = piece.end == first.size() ? second.size() : count_below(second, first[piece.end]);
        return {first.subspan(piece.begin, piece.end - piece.begin), second.subspan(begin, end - begin)};
    }

private:
    Lists(Indices one, Indices other) : first(one), second(other) {}
};

std::uint64_t count_common(const Lists &lists) {
    std::uint64_t i = 0, j = 0, common = 0;
    while (i < lists.first.size() && j < lists.second.size()) {
        const std::uint32_t a = lists.first[i], b = lists.second[j];
        common += a == b;
        i += a <= b;
        j += b <= a;
    }
    return common;
}

void write_union(const Lists &lists, std::uint32_t *indices) {
    std::uint64_t i = 0, j = 0;
    while (i < lists.first.size() && j < lists.second.size()) {
        const std::uint32_t a = lists.first[i], b = lists.second[j];
        *indices++ = std::min(a, b);
        i += a <= b;
        j += b <= a;
    }
    indices = std::copy(lists.first.begin() + static_cast<std::ptrdiff_t>(i), lists.first.end(), indices);
    std::copy(lists.second.begin() + static_cast<std::ptrdiff_t>(j), lists.second.end(), indices);
}

void write_difference(const Lists &lists, std::uint32_t *indices) {
    std::uint64_t j = 0;
    for (const std::uint32_t index : lists.first) {
        j = count_below_from(lists.second, j, index);
        if (j == lists.second.size() || lists.second[j] != index) *indices++ = index;
    }
}

}  // namespace

void find_indices(const speft_backend_device &device, const speft_find_indices &arguments) {
    for_each_piece(device, Pieces(piece_size, arguments.wanted_count),
                   [&](Piece piece, std::int64_t) { find_piece(arguments, piece); });
}

std::uint64_t combine_indices_scratch(const speft_backend_device &, const speft_combine_indices &arguments) {
    return static_cast<std::uint64_t>(Lists(arguments).pieces().count()) * sizeof(std::uint64_t);
}

// Counts what each piece gives, then writes each piece to its place.
void combine_indices(const speft_backend_device &device, const speft_combine_indices &arguments, void *scratch) {
    const Lists lists(arguments);
    const bool unites = arguments.combination == SPEFT_COMBINE_UNION;
    const Pieces pieces = lists.pieces();
    auto *const places = static_cast<std::uint64_t *>(scratch);
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t index) {
        const Lists part = lists.take(piece);
        places[index] = part.first.size() + (unites ? part.second.size() : 0) - count_common(part);
    });
    std::uint64_t count = 0;
    for (std::int64_t index = 0; index < pieces.count(); ++index) {
        const std::uint64_t place = count;
        count += places[index];
        places[index] = place;
    }
    *arguments.count = count;
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t index) {
        const Lists part = lists.take(piece);
        (unites ? write_union : write_difference)(part, arguments.indices + places[index]);
    });
}

}  // namespace speft::cpu
