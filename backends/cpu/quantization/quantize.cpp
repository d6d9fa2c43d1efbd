#include <numeric>

#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/quantization/kernels.h"
#include "core/base/block_quantization.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t piece_size = 16384;

const void *weights_from(const speft_quantize_blocks &arguments, std::uint64_t j) {
    const std::uint64_t width = arguments.weights_type == SPEFT_SCALAR_FLOAT32 ? 4 : 2;
    return static_cast<const unsigned char *>(arguments.weights) + j * width;
}

std::uint64_t count_not_finite(const speft_backend_device &device, const speft_quantize_blocks &arguments,
                               const QuantizeKernels &kernels) {
    const Pieces pieces(piece_size, arguments.count);
    std::vector<std::uint64_t> counts(static_cast<std::size_t>(pieces.count()));
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t index) {
        counts[static_cast<std::size_t>(index)] = kernels.count_not_finite[arguments.weights_type](
            weights_from(arguments, piece.begin), piece.end - piece.begin);
    });
    return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

// Returns the scale to be kept.
float encode_levels4(const speft_quantize_blocks &arguments, const QuantizeKernels &kernels, const LevelTable &table,
                     std::uint64_t begin, std::uint64_t count, float absmax) {
    const bool is_short = count < arguments.block;
    const float divisor = divisor_of(absmax);
    kernels.levels4[arguments.weights_type](weights_from(arguments, begin), count, table, is_short,
                                            is_short ? divisor : 1 / divisor,
                                            static_cast<std::uint8_t *>(arguments.codes) + begin / 2);
    return is_short ? divisor : absmax;
}

float encode_int8(const speft_quantize_blocks &arguments, const QuantizeKernels &kernels, std::uint64_t begin,
                  std::uint64_t count, float absmax) {
    kernels.int8[arguments.weights_type](weights_from(arguments, begin), count, int8_factor(absmax),
                                         static_cast<std::int8_t *>(arguments.codes) + begin);
    return absmax;
}

}  // namespace

const char *refuse_to_quantize(const speft_quantize_blocks &arguments) {
    if (arguments.coding == SPEFT_CODING_LEVELS8) return "scales, of which there are few, are encoded one by one";
    return arguments.offset ? "the mean is summed in plain loops" : nullptr;
}

void quantize_vectors(const speft_backend_device &device, const speft_quantize_blocks &arguments,
                      const QuantizeKernels &kernels) {
    *arguments.not_finite = count_not_finite(device, arguments, kernels);
    if (*arguments.not_finite > 0) return;
    const bool of_levels = arguments.coding == SPEFT_CODING_LEVELS4;
    LevelTable table{};
    if (of_levels) {
        const OrderedLevels<16> levels(arguments.levels);
        std::copy(std::begin(levels.middles), std::end(levels.middles), table.middles);
        std::copy(std::begin(levels.codes), std::end(levels.codes), table.codes);
    }
    const std::uint64_t block = std::max<std::uint64_t>(1, arguments.block);  // 0: rows without columns
    const Pieces pieces(std::max<std::uint64_t>(1, piece_size / block), (arguments.count + block - 1) / block);
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t) {
        for (std::uint64_t b = piece.begin; b < piece.end; ++b) {
            const std::uint64_t begin = b * block, count = std::min(block, arguments.count - begin);
            const float absmax = kernels.find_absmax[arguments.weights_type](weights_from(arguments, begin), count);
            arguments.absmax[b] = of_levels ? encode_levels4(arguments, kernels, table, begin, count, absmax)
                                            : encode_int8(arguments, kernels, begin, count, absmax);
        }
    });
}

}  // namespace speft::cpu
