#include "backends/cpu/operations.h"
#include "backends/cpu/quantization/scales.h"
#include "backends/cpu/reference/tile_product.h"

namespace speft::cpu {
namespace {

// weights[j − begin] for j in [begin, end), with the values added.
template <class Value>
void read_weights(const speft_multiply_quantized &m, const Value *values, std::uint64_t begin, std::uint64_t end,
                  float *weights) {
    for (std::uint64_t j = begin; j < end;) {
        const std::uint64_t block = j / m.quantized.block;
        const float absmax = scale_of_block(m.quantized, block);
        for (const std::uint64_t block_end = std::min((block + 1) * m.quantized.block, end); j < block_end; ++j)
            weights[j - begin] = decode_scalar(m.quantized, j, absmax);
    }
    const std::uint32_t *const last = m.indices + m.count;
    for (const std::uint32_t *index = std::lower_bound(m.indices, last, begin); index != last && *index < end; ++index)
        weights[*index - begin] += to_float(values[index - m.indices]);
}

}  // namespace

void multiply_quantized(const speft_backend_device &device, const speft_multiply_quantized &m) {
    const bool transposed = m.transposed != 0;
    visit_scalar(m.values_type, [&](auto scalar) {
        const auto *const values = static_cast<const decltype(scalar) *>(m.values);
        multiply_tiles(device, frame_of(m), [&](Piece terms, Piece columns, Tile &tile) {
            const Piece of_rows = transposed ? columns : terms, of_columns = transposed ? terms : columns;
            const std::uint64_t width = of_columns.end - of_columns.begin;
            for (std::uint64_t row = of_rows.begin; row < of_rows.end; ++row) {
                float weights[tile_side];
                const std::uint64_t begin = row * m.b_columns + of_columns.begin;
                read_weights(m, values, begin, begin + width, weights);
                for (std::uint64_t j = 0; j < width; ++j)
                    (transposed ? tile[j][row - of_rows.begin] : tile[row - of_rows.begin][j]) = weights[j];
            }
        });
    });
}

}  // namespace speft::cpu
