#include <cmath>
#include <numeric>

#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/scalar_types.h"
#include "core/base/block_quantization.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t piece_size = 16384;

template <class Scalar>
std::uint64_t count_not_finite(const speft_backend_device &device, const Scalar *weights, std::uint64_t count) {
    const Pieces pieces(piece_size, count);
    std::vector<std::uint64_t> counts(static_cast<std::size_t>(pieces.count()));
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t index) {
        std::uint64_t not_finite = 0;
        for (std::uint64_t j = piece.begin; j < piece.end; ++j)
            not_finite += (bit_copy<std::uint32_t>(to_float(weights[j])) & 0x7f800000u) == 0x7f800000u;
        counts[static_cast<std::size_t>(index)] = not_finite;
    });
    return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

template <class Scalar>
float average(const speft_backend_device &device, const Scalar *weights, std::uint64_t count) {
    const Pieces pieces(piece_size, count);
    std::vector<double> sums(static_cast<std::size_t>(pieces.count()));
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t index) {
        double sum = 0;
        for (std::uint64_t j = piece.begin; j < piece.end; ++j) sum += static_cast<double>(to_float(weights[j]));
        sums[static_cast<std::size_t>(index)] = sum;
    });
    const double sum = std::accumulate(sums.begin(), sums.end(), 0.0);
    return count == 0 ? 0 : static_cast<float>(sum / static_cast<double>(count));
}

template <class Scalar>
struct Weights {
    const Scalar *values;
    float offset;
    float operator[](std::uint64_t j) const { return to_float(values[j]) - offset; }
};

// [begin, end) is one block, from whose first weight on `codes` is.
template <class Scalar>
void encode_levels4(const OrderedLevels<16> &levels, Weights<Scalar> weights, std::uint64_t begin, std::uint64_t end,
                    ShareOfScale share, std::uint8_t *codes) {
    const auto code = [&](std::uint64_t j) -> unsigned { return levels.nearest(j == end ? 0 : share(weights[j])); };
    for (std::uint64_t j = begin; j < end; j += 2) *codes++ = static_cast<std::uint8_t>(code(j) << 4 | code(j + 1));
}

template <class Scalar>
void encode_levels8(const OrderedLevels<256> &levels, Weights<Scalar> weights, std::uint64_t begin, std::uint64_t end,
                    float absmax, std::uint8_t *codes) {
    const ShareOfScale share(absmax);
    for (std::uint64_t j = begin; j < end; ++j)
        *codes++ = absmax == 0 ? std::uint8_t{0} : levels.nearest(share(weights[j]));
}

template <class Scalar>
void encode_int8(Weights<Scalar> weights, std::uint64_t begin, std::uint64_t end, float absmax, std::int8_t *codes) {
    const float factor = int8_factor(absmax);
    for (std::uint64_t j = begin; j < end; ++j) *codes++ = static_cast<std::int8_t>(std::lrint(weights[j] * factor));
}

// encode(begin, end, absmax) for each block; its absmax is then kept, unless `encode` returns another.
template <class Scalar, class Encode>
void for_each_block(const speft_backend_device &device, const speft_quantize_blocks &arguments,
                    Weights<Scalar> weights, Encode &&encode) {
    const std::uint64_t block = std::max<std::uint64_t>(1, arguments.block);  // 0: rows without columns
    const Pieces pieces(std::max<std::uint64_t>(1, piece_size / block), (arguments.count + block - 1) / block);
    for_each_piece(device, pieces, [&](Piece piece, std::int64_t) {
        for (std::uint64_t b = piece.begin; b < piece.end; ++b) {
            const std::uint64_t begin = b * block, end = std::min(begin + block, arguments.count);
            float absmax = 0;
            for (std::uint64_t j = begin; j < end; ++j) absmax = std::max(absmax, std::fabs(weights[j]));
            arguments.absmax[b] = encode(begin, end, absmax);
        }
    });
}

template <class Scalar>
void quantize(const speft_backend_device &device, const speft_quantize_blocks &arguments) {
    const auto *values = static_cast<const Scalar *>(arguments.weights);
    *arguments.not_finite = count_not_finite(device, values, arguments.count);
    if (*arguments.not_finite > 0) return;
    Weights<Scalar> weights{values, 0};
    if (arguments.offset) *arguments.offset = weights.offset = average(device, values, arguments.count);
    auto *codes = static_cast<std::uint8_t *>(arguments.codes);
    switch (arguments.coding) {
    case SPEFT_CODING_LEVELS4: {
        const OrderedLevels<16> levels(arguments.levels);
        for_each_block(device, arguments, weights, [&](std::uint64_t begin, std::uint64_t end, float absmax) {
            const bool is_short = end - begin < arguments.block;
            encode_levels4(levels, weights, begin, end, ShareOfScale(absmax, is_short), codes + begin / 2);
            return is_short ? divisor_of(absmax) : absmax;
        });
        break;
    }
    case SPEFT_CODING_LEVELS8: {
        const OrderedLevels<256> levels(arguments.levels);
        for_each_block(device, arguments, weights, [&](std::uint64_t begin, std::uint64_t end, float absmax) {
            encode_levels8(levels, weights, begin, end, absmax, codes + begin);
            return absmax;
        });
        break;
    }
    case SPEFT_CODING_INT8:
        for_each_block(device, arguments, weights, [&](std::uint64_t begin, std::uint64_t end, float absmax) {
            encode_int8(weights, begin, end, absmax, reinterpret_cast<std::int8_t *>(codes) + begin);
            return absmax;
        });
        break;
    default:
        throw Failure(SPEFT_INTERNAL, "the CPU backend knows no coding " + std::to_string(arguments.coding));
    }
}

}  // namespace

void quantize(const speft_backend_device &device, const speft_quantize_blocks &arguments) {
    visit_scalar(arguments.weights_type, [&](auto scalar) { quantize<decltype(scalar)>(device, arguments); });
}

}  // namespace speft::cpu
