#include "backends/cpu/operations.h"
#include "backends/cpu/quantization/kernels.h"
#include "backends/cpu/quantization/scales.h"

namespace speft::cpu {

void dequantize_vectors(const speft_backend_device &device, const speft_dequantize_blocks &arguments,
                        const DequantizeKernels &kernels) {
    const speft_quantized_blocks &quantized = arguments.quantized;
    const std::uint64_t width = arguments.weights_type == SPEFT_SCALAR_FLOAT32 ? 4 : 2;
    const auto of_levels4 = kernels.levels4[arguments.weights_type];
    const auto of_int8 = kernels.int8[arguments.weights_type];
    for_each_piece(device, pieces_of(quantized), [&](Piece piece, std::int64_t) {
        for (std::uint64_t block = piece.begin; block < piece.end; ++block) {
            const std::uint64_t begin = block * quantized.block;
            const std::uint64_t count = std::min(quantized.block, quantized.count - begin);
            const float absmax = scale_of_block(quantized, block);
            void *weights = static_cast<unsigned char *>(arguments.weights) + begin * width;
            if (quantized.coding == SPEFT_CODING_INT8)
                of_int8(static_cast<const std::int8_t *>(quantized.codes) + begin, absmax, count, weights);
            else
                of_levels4(static_cast<const std::uint8_t *>(quantized.codes) + begin / 2, quantized.levels, absmax,
                           count, weights);
        }
    });
}

}  // namespace speft::cpu
