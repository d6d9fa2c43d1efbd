#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/quantization/scales.h"
#include "backends/cpu/scalar_types.h"

namespace speft::cpu {
namespace {

template <class Scalar>
void dequantize_block(const speft_quantized_blocks &quantized, std::uint64_t block, Scalar *weights) {
    const float absmax = scale_of_block(quantized, block);
    const std::uint64_t begin = block * quantized.block, end = std::min(begin + quantized.block, quantized.count);
    for (std::uint64_t j = begin; j < end; ++j)
        weights[j] = from_float<Scalar>(decode_scalar(quantized, j, absmax));
}

}  // namespace

void dequantize(const speft_backend_device &device, const speft_dequantize_blocks &arguments) {
    visit_scalar(arguments.weights_type, [&](auto scalar) {
        auto *weights = static_cast<decltype(scalar) *>(arguments.weights);
        for_each_piece(device, pieces_of(arguments.quantized), [&](Piece piece, std::int64_t) {
            for (std::uint64_t block = piece.begin; block < piece.end; ++block)
                dequantize_block(arguments.quantized, block, weights);
        });
    });
}

}  // namespace speft::cpu
