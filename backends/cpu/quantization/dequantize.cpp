#include "backends/cpu/operations.h"
#include "backends/cpu/quantization/decode.h"

namespace speft::cpu {

void dequantize_vectors(const speft_backend_device &device, const speft_dequantize_blocks &arguments,
                        const DequantizeKernels &kernels) {
    const speft_quantized_blocks &quantized = arguments.quantized;
    const std::uint64_t width = arguments.weights_type == SPEFT_SCALAR_FLOAT32 ? 4 : 2;
    for_each_piece(device, pieces_of(quantized), [&](Piece piece, std::int64_t) {
        const std::uint64_t begin = piece.begin * quantized.block;
        const std::uint64_t end = std::min(piece.end * quantized.block, quantized.count);
        decode(quantized, kernels, arguments.weights_type, begin, end,
               static_cast<unsigned char *>(arguments.weights) + begin * width);
    });
}

}  // namespace speft::cpu
