#include <algorithm>

#include "backends/cpu/operations.h"
#include "backends/cpu/reference/moments.h"

namespace speft::cpu {
namespace {

template <class Moments>
void convert(const speft_convert_moments &arguments, Moments moments, Piece piece) {
    for (std::uint64_t begin = piece.begin; begin < piece.end; begin += segment_block_size) {
        const std::uint64_t end = std::min(begin + segment_block_size, piece.end);
        float *const block = moments.load(begin, end);
        if (arguments.to_float) {
            std::copy(block, block + (end - begin), arguments.values + begin);
        } else {
            std::copy(arguments.values + begin, arguments.values + end, block);
            moments.store(begin, end);
        }
    }
}

}  // namespace

void convert_moments(const speft_backend_device &device, const speft_convert_moments &arguments) {
    for_each_piece(device, Pieces(segment_piece_size, arguments.count), [&](Piece piece, std::int64_t) {
        visit_moments(arguments.moments.type, [&](auto make) {
            convert(arguments, make(arguments.moments, arguments.is_signed != 0), piece);
        });
    });
}

}  // namespace speft::cpu
