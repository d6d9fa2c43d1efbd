// Hands out the work of add_values to vector kernels.
#include "backends/cpu/accumulation/add_values_avx2.h"
#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"

namespace speft::cpu {

void add_values_avx2(const speft_backend_device &device, const speft_add_values &arguments) {
    constexpr std::uint64_t piece_size = 16384;
    const AddKernels &kernels = avx2_add_kernels[arguments.source_type][arguments.map];
    const AddedAs added = {arguments.scale, arguments.weight};
    const std::uint64_t width = arguments.source_type == SPEFT_SCALAR_FLOAT32 ? 4 : 2;
    for_each_piece(device, Pieces(piece_size, arguments.count), [&](Piece piece, std::int64_t) {
        float *const sums = arguments.sums + piece.begin;
        const std::uint64_t count = piece.end - piece.begin;
        if (arguments.indices)
            kernels.gathered(sums, arguments.source, arguments.indices + piece.begin, count, added);
        else
            kernels.dense(sums, static_cast<const char *>(arguments.source) + piece.begin * width, count, added);
    });
}

}  // namespace speft::cpu
