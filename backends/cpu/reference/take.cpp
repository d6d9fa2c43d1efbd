#include <cstring>
#include <limits>

#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t piece_size = 16384;
constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

template <std::uint64_t width>
void take_piece(const speft_take &arguments, Piece piece) {
    auto *const target = static_cast<char *>(arguments.target);
    const auto *const source = static_cast<const char *>(arguments.source);
    for (std::uint64_t j = piece.begin; j < piece.end; ++j) {
        const std::uint64_t position = arguments.positions[j];
        if (position != none) std::memcpy(target + j * width, source + position * width, width);
    }
}

}  // namespace

void take(const speft_backend_device &device, const speft_take &arguments) {
    for_each_piece(device, Pieces(piece_size, arguments.count), [&](Piece piece, std::int64_t) {
        (arguments.element_bytes == 2 ? take_piece<2> : take_piece<4>)(arguments, piece);
    });
}

}  // namespace speft::cpu
