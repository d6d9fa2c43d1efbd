#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/quantization/scales.h"
#include "backends/cpu/scalar_types.h"
#include "core/base/block_quantization.h"

namespace speft::cpu {
namespace {

template <class Scalar>
void dequantize_block(const speft_quantized_blocks &quantized, std::uint64_t block, Scalar *weights) {
    const float absmax = scale_of_block(quantized, block);
    const std::uint64_t begin = block * quantized.block, end = std::min(begin + quantized.block, quantized.count);
    if (quantized.coding == SPEFT_CODING_INT8) {
        const auto *codes = static_cast<const std::int8_t *>(quantized.codes);
        for (std::uint64_t j = begin; j < end; ++j) weights[j] = from_float<Scalar>(decode_int8(codes[j], absmax));
    } else {
        const auto *codes = static_cast<const std::uint8_t *>(quantized.codes);
        for (std::uint64_t j = begin; j < end; ++j) {
            const unsigned code = j % 2 == 0 ? codes[j / 2] >> 4 : codes[j / 2] & 15u;
            weights[j] = from_float<Scalar>(quantized.levels[code] * absmax);
        }
    }
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
