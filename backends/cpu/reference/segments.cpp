// The operations on segments that move no delta: capture, compare, merge, unmerge, measure_rounding.
#include <algorithm>
#include <cmath>

#include "backends/cpu/operations.h"
#include "backends/cpu/reference/segment.h"

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

std::uint32_t bits_of(float value) { return bit_copy<std::uint32_t>(value); }
std::uint32_t bits_of(BFloat16 value) { return value.bits; }
std::uint32_t bits_of(Float16 value) { return value.bits; }

// Bit for bit, but that any NaN equals any NaN. Without branches, so that it can be vector arithmetic.
template <class Scalar>
bool same(Scalar a, Scalar b) {
    const float left = to_float(a), right = to_float(b);
    return (bits_of(a) == bits_of(b)) | ((left != left) & (right != right));
}

// Of the weights of a piece: how many are not what was merged. A block is gathered first, and then compared in order.
template <class Segment>
std::uint64_t count_differing(const Segment &segment, Piece piece) {
    std::uint64_t count = 0;
    for_each_block(segment, piece, [&](std::uint64_t begin, std::uint64_t end) {
        typename Segment::Scalar weights[segment_block_size];
        for (std::uint64_t j = begin; j < end; ++j) weights[j - begin] = segment.weight(j);
        std::uint32_t in_block = 0;
        for (std::uint64_t j = begin; j < end; ++j) in_block += !same(weights[j - begin], segment.merged(j));
        count += in_block;
    });
    return count;
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

void compare(const speft_backend_device &device, const speft_compare &arguments) {
    const Pieces pieces = cut(arguments.segments, arguments.count);
    std::vector<std::uint64_t> differing(static_cast<std::size_t>(pieces.count()));
    for_each_segment_piece(device, arguments.segments, pieces, [&](auto segment, Piece piece, std::int64_t index) {
        differing[index] = count_differing(segment, piece);
    });
    std::fill_n(arguments.differing, arguments.count, 0);
    for (std::int64_t index = 0; index < pieces.count(); ++index)
        arguments.differing[pieces[index].array] += differing[index];
}

void merge(const speft_backend_device &device, const speft_merge_segments &arguments) {
    for_each_segment_piece(device, arguments.segments, cut(arguments.segments, arguments.count),
                           [](auto segment, Piece piece, std::int64_t) {
                               for_each_weight(segment, piece, [&](std::uint64_t j) {
                                   segment.weight(j) = segment.merged(j);
                               });
                           });
}

void unmerge(const speft_backend_device &device, const speft_unmerge_segments &arguments) {
    for_each_segment_piece(device, arguments.segments, cut(arguments.segments, arguments.count),
                           [](auto segment, Piece piece, std::int64_t) {
                               for_each_weight(segment, piece, [&](std::uint64_t j) {
                                   segment.weight(j) = segment.original(j);
                               });
                           });
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
