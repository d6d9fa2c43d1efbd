// The operations on segments without arithmetic of their own: capture, compare, merge, unmerge.
#include "backends/cpu/reference/segment.h"

#include "backends/cpu/operations.h"
#include "backends/cpu/scalar_types.h"

namespace speft::cpu {
namespace {

// body(segment, piece, index) for each piece of each segment.
template <class Body>
void for_each_segment_piece(const speft_backend_device &device, const speft_segment *segments, const Pieces &pieces,
                            Body &&body) {
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t index) {
        const speft_segment &segment = segments[piece.array];
        visit_scalar(segment.weights_type,
                     [&](auto scalar) { body(Segment<decltype(scalar)>(segment), piece, index); });
    });
}

Pieces cut(const speft_segment *segments, std::uint64_t count) {
    Pieces pieces(segment_piece_size);
    for (std::uint64_t s = 0; s < count; ++s) pieces.add(segments[s].count);
    return pieces;
}

template <class Scalar>
bool same(Scalar a, Scalar b) {
    const float left = to_float(a), right = to_float(b);
    if (left != left) return right != right;
    return std::memcmp(&a, &b, sizeof a) == 0;
}

}  // namespace

void capture(const speft_backend_device &device, const speft_capture &arguments) {
    for_each_segment_piece(device, arguments.segments, cut(arguments.segments, arguments.count),
                           [](auto segment, Piece piece, std::int64_t) {
                               for (std::uint64_t j = piece.begin; j < piece.end; ++j)
                                   segment.original(j) = segment.weight(j);
                           });
}

void compare(const speft_backend_device &device, const speft_compare &arguments) {
    const Pieces pieces = cut(arguments.segments, arguments.count);
    std::vector<std::uint64_t> differing(static_cast<std::size_t>(pieces.count()));
    for_each_segment_piece(device, arguments.segments, pieces, [&](auto segment, Piece piece, std::int64_t index) {
        std::uint64_t count = 0;
        for (std::uint64_t j = piece.begin; j < piece.end; ++j) count += !same(segment.weight(j), segment.merged(j));
        differing[index] = count;
    });
    std::fill_n(arguments.differing, arguments.count, 0);
    for (std::int64_t index = 0; index < pieces.count(); ++index)
        arguments.differing[pieces[index].array] += differing[index];
}

void merge(const speft_backend_device &device, const speft_merge_segments &arguments) {
    for_each_segment_piece(device, arguments.segments, cut(arguments.segments, arguments.count),
                           [](auto segment, Piece piece, std::int64_t) {
                               for (std::uint64_t j = piece.begin; j < piece.end; ++j)
                                   segment.weight(j) = segment.merged(j);
                           });
}

void unmerge(const speft_backend_device &device, const speft_unmerge_segments &arguments) {
    for_each_segment_piece(device, arguments.segments, cut(arguments.segments, arguments.count),
                           [](auto segment, Piece piece, std::int64_t) {
                               for (std::uint64_t j = piece.begin; j < piece.end; ++j)
                                   segment.weight(j) = segment.original(j);
                           });
}

}  // namespace speft::cpu
