// The operations on segments that move no delta: capture, merge, unmerge, measure_rounding.
#include <algorithm>
#include <cmath>

#include "backends/cpu/operations.h"
#include "backends/cpu/reference/segment.h"
#include "core/base/merge_rules.h"

namespace speft::cpu {
namespace {

// body(segment, piece, index) for each piece of each segment.
template <class Body>
void for_each_segment_piece(const speft_backend_device &device, const speft_segment *segments, const Pieces &pieces,
                            Body &&body) {
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t index) {
        visit_segment(segments[piece.array], [&](auto segment) { body(segment, piece, index); });
    });
}

Pieces cut(const speft_segment *segments, std::uint64_t count) {
    Pieces pieces(segment_piece_size);
    for (std::uint64_t s = 0; s < count; ++s) pieces.add(segments[s].count);
    return pieces;
}

// Which weights of each block were written, a bit each, for the case that all has to be put back.
using Block = std::uint64_t;
static_assert(segment_block_size == 64);
constexpr std::uint64_t piece_blocks = segment_piece_size / segment_block_size;

std::uint64_t exchange_scratch(const speft_segment *segments, std::uint64_t count) {
    return static_cast<std::uint64_t>(cut(segments, count).count()) * piece_blocks * sizeof(Block);
}

// Merges or unmerges by the rule, all or nothing.
template <class Rule>
void exchange(const speft_backend_device &device, const speft_segment *segments, std::uint64_t count,
              std::uint64_t *differing, void *scratch) {
    const Pieces pieces = cut(segments, count);
    std::vector<std::uint64_t> differing_in(static_cast<std::size_t>(pieces.count()));
    const auto written_of = [&](std::int64_t index) { return static_cast<Block *>(scratch) + index * piece_blocks; };
    for_each_segment_piece(device, segments, pieces, [&](auto segment, Piece piece, std::int64_t index) {
        Block *written = written_of(index);
        std::uint64_t differ = 0;
        for_each_block(segment, piece, [&](std::uint64_t begin, std::uint64_t end) {
            typename decltype(segment)::Scalar weights[segment_block_size];
            for (std::uint64_t j = begin; j < end; ++j) weights[j - begin] = segment.weight(j);
            Block block = 0;
            for (std::uint64_t j = begin; j < end; ++j) {
                const Found found =
                    Rule::find(weights[j - begin], segment.original(j), [&] { return segment.merged(j); });
                block |= Block{found == Found::replace} << (j - begin);
                differ += found == Found::differs;
            }
            *written++ = block;
            for (std::uint64_t j = begin; j < end; ++j)
                if (block >> (j - begin) & 1) segment.weight(j) = Rule::write(segment.original(j), segment.merged(j));
        });
        differing_in[index] = differ;
    });
    std::fill_n(differing, count, 0);
    for (std::int64_t index = 0; index < pieces.count(); ++index)
        differing[pieces[index].array] += differing_in[index];
    if (std::all_of(differing, differing + count, [](std::uint64_t number) { return number == 0; })) return;
    for_each_segment_piece(device, segments, pieces, [&](auto segment, Piece piece, std::int64_t index) {
        const Block *const written = written_of(index);
        for (std::uint64_t j = piece.begin; j < piece.end; ++j) {
            const std::uint64_t place = j - piece.begin;
            if (written[place / segment_block_size] >> place % segment_block_size & 1)
                segment.weight(j) = Rule::put_back(segment.original(j), segment.merged(j));
        }
    });
}

}  // namespace

void capture(const speft_backend_device &device, const speft_capture &arguments) {
    for_each_segment_piece(device, arguments.segments, cut(arguments.segments, arguments.count),
                           [](auto segment, Piece piece, std::int64_t) {
                               for_each_weight(segment, piece, [&](std::uint64_t j) {
                                   segment.original(j) = segment.weight(j);
                               });
                           });
}

void merge(const speft_backend_device &device, const speft_merge_segments &arguments, void *scratch) {
    exchange<MergeRule>(device, arguments.segments, arguments.count, arguments.differing, scratch);
}

std::uint64_t merge_scratch(const speft_backend_device &, const speft_merge_segments &arguments) {
    return exchange_scratch(arguments.segments, arguments.count);
}

void unmerge(const speft_backend_device &device, const speft_unmerge_segments &arguments, void *scratch) {
    exchange<UnmergeRule>(device, arguments.segments, arguments.count, arguments.differing, scratch);
}

std::uint64_t unmerge_scratch(const speft_backend_device &, const speft_unmerge_segments &arguments) {
    return exchange_scratch(arguments.segments, arguments.count);
}

void measure_rounding(const speft_backend_device &device, const speft_measure_rounding &arguments) {
    const Pieces pieces = cut(arguments.segments, arguments.count);
    struct Sums {
        double total = 0;
        double lost = 0;
    };
    std::vector<Sums> sums(static_cast<std::size_t>(pieces.count()));
    for_each_segment_piece(device, arguments.segments, pieces, [&](auto segment, Piece piece, std::int64_t index) {
        Sums sum;
        for (std::uint64_t j = piece.begin; j < piece.end; ++j) {
            const double delta = segment.delta(j);
            const double moved =
                static_cast<double>(to_float(segment.merged(j))) - static_cast<double>(to_float(segment.original(j)));
            sum.total += std::fabs(delta);
            sum.lost += std::fabs(delta - moved);
        }
        sums[index] = sum;
    });
    std::fill_n(arguments.total, arguments.count, 0.0);
    std::fill_n(arguments.lost, arguments.count, 0.0);
    for (std::int64_t index = 0; index < pieces.count(); ++index) {
        arguments.total[pieces[index].array] += sums[index].total;
        arguments.lost[pieces[index].array] += sums[index].lost;
    }
}

}  // namespace speft::cpu
