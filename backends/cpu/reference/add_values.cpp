#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/scalar_types.h"
#include "core/base/value_map.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t piece_size = 16384;

template <class Scalar>
void add(const speft_add_values &arguments, Piece piece) {
    const auto *source = static_cast<const Scalar *>(arguments.source);
    for (std::uint64_t j = piece.begin; j < piece.end; ++j) {
        const std::uint64_t place = arguments.indices ? arguments.indices[j] : j;
        arguments.sums[j] += arguments.weight * map_value(arguments.map, arguments.scale * to_float(source[place]));
    }
}

}  // namespace

void add_values(const speft_backend_device &device, const speft_add_values &arguments) {
    visit_scalar(arguments.source_type, [&](auto scalar) {
        for_each_piece(device, Pieces(piece_size, arguments.count),
                       [&](Piece piece, std::int64_t) { add<decltype(scalar)>(arguments, piece); });
    });
}

}  // namespace speft::cpu
