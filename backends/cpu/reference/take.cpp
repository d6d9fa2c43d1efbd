#include <algorithm>
#include <cstring>
#include <limits>

#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t piece_bytes = 65536;
constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

// `copy(target, source)` copies an element of `width` bytes.
template <class Copy>
void take_piece(const speft_take &arguments, Piece piece, std::uint64_t width, Copy &&copy) {
    auto *const target = static_cast<char *>(arguments.target);
    const auto *const source = static_cast<const char *>(arguments.source);
    for (std::uint64_t j = piece.begin; j < piece.end; ++j) {
        const std::uint64_t position = arguments.positions[j];
        if (position != none) copy(target + j * width, source + position * width);
    }
}

}  // namespace

void take(const speft_backend_device &device, const speft_take &arguments) {
    const std::uint64_t width = std::max<std::uint64_t>(1, arguments.element_bytes);
    const Pieces pieces(std::max<std::uint64_t>(1, piece_bytes / width), arguments.count);
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t) {
        switch (arguments.element_bytes) {
        case 2: take_piece(arguments, piece, 2, [](void *to, const void *from) { std::memcpy(to, from, 2); }); break;
        case 4: take_piece(arguments, piece, 4, [](void *to, const void *from) { std::memcpy(to, from, 4); }); break;
        default:
            take_piece(arguments, piece, arguments.element_bytes, [&](void *to, const void *from) {
                std::memcpy(to, from, arguments.element_bytes);
            });
        }
    });
}

}  // namespace speft::cpu
