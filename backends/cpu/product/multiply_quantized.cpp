// The packed product, whose second factor is decoded where it is packed: a window of it at a time, that stays in the
// nearer caches, the values that are added to it with it. A product in bfloat16 would round both to 8 bits, and lose
// what is added.
//
// Scratch: the packed product's, and where each row's indices start.
#include "backends/cpu/operations.h"
#include "backends/cpu/product/packed_product.h"
#include "backends/cpu/product/sparse_rows.h"
#include "backends/cpu/quantization/decode.h"

namespace speft::cpu {
namespace {

class QuantizedFactor {
public:
    QuantizedFactor(const speft_multiply_quantized &arguments, const DequantizeKernels &kernels)
        : m_(arguments),
          kernels_(kernels),
          added_(m_.indices, m_.values, m_.values_type, m_.count, m_.b_rows, m_.b_columns) {}

    std::uint64_t scratch_bytes() const { return added_.scratch_bytes(); }
    void prepare(const speft_backend_device &device, void *scratch) { added_.find_rows(device, scratch); }

    void fill(const speft_backend_device &device, const ProductKernels &kernels, std::uint64_t strip_columns,
              std::uint64_t strip_words, StripRange range, Word *strips) const {
        const std::uint64_t group = m_.transposed ? strip_columns : std::max(most_columns, strip_columns);
        for_each_piece(device, Pieces(group, range.columns.end - range.columns.begin),
                       [&](Piece piece, std::int64_t) {
            const Piece columns{0, range.columns.begin + piece.begin, range.columns.begin + piece.end};
            Word *const first = strips + piece.begin / strip_columns * strip_words;
            if (m_.transposed)
                fill_from_lines(kernels, strip_columns, {columns, range.terms}, first);
            else
                fill_from_terms(kernels, strip_columns, strip_words, {columns, range.terms}, first);
        });
    }

private:
    // Of a window that is decoded at a time: some blocks of each row, for those begin with a look at their scales.
    static constexpr std::uint64_t most_columns = 192;
    static constexpr std::uint64_t terms_at_once = 32;
    static constexpr std::uint64_t window_size = most_columns * terms_at_once;

    // One strip, whose columns are rows of the weight.
    void fill_from_lines(const ProductKernels &kernels, std::uint64_t strip_columns, StripRange range,
                         Word *strip) const {
        alignas(64) float window[window_size];
        const std::uint64_t columns = range.columns.end - range.columns.begin;
        const std::uint64_t most_terms = window_size / strip_columns;
        for (std::uint64_t term = range.terms.begin; term < range.terms.end; term += most_terms) {
            const std::uint64_t end = std::min(term + most_terms, range.terms.end);
            for (std::uint64_t column = 0; column < columns; ++column)
                read(range.columns.begin + column, term, end, window + column * most_terms);
            kernels.fill_strip_of_lines({window, SPEFT_SCALAR_FLOAT32, most_terms, end - term, columns}, strip_columns,
                                        strip + (term - range.terms.begin) * strip_columns);
        }
    }

    // Several strips side by side, whose words are rows of the weight.
    void fill_from_terms(const ProductKernels &kernels, std::uint64_t strip_columns, std::uint64_t strip_words,
                         StripRange range, Word *strips) const {
        alignas(64) float window[window_size];
        const std::uint64_t columns = range.columns.end - range.columns.begin;
        for (std::uint64_t term = range.terms.begin; term < range.terms.end; term += terms_at_once) {
            const std::uint64_t terms = std::min(terms_at_once, range.terms.end - term);
            for (std::uint64_t i = 0; i < terms; ++i)
                read(term + i, range.columns.begin, range.columns.end, window + i * most_columns);
            Word *strip = strips + (term - range.terms.begin) * strip_columns;
            for (std::uint64_t column = 0; column < columns; column += strip_columns, strip += strip_words)
                kernels.fill_strip({window + column, SPEFT_SCALAR_FLOAT32, most_columns, terms,
                                    std::min(strip_columns, columns - column)},
                                   strip_columns, strip);
        }
    }

    // A part of a row of the weight.
    void read(std::uint64_t row, std::uint64_t begin, std::uint64_t end, float *weights) const {
        decode(m_.quantized, kernels_, row * m_.b_columns + begin, row * m_.b_columns + end, weights);
        added_.visit(row, begin, end, [&](std::uint64_t column, float value) { weights[column - begin] += value; });
    }

    const speft_multiply_quantized &m_;
    const DequantizeKernels &kernels_;
    SparseRows added_;
};

using QuantizedProduct = PackedProduct<QuantizedFactor>;

}  // namespace

std::uint64_t multiply_quantized_packed_scratch(const speft_backend_device &device,
                                                const speft_multiply_quantized &arguments,
                                                const ProductKernels &kernels,
                                                const DequantizeKernels &dequantize_kernels) {
    const QuantizedFactor right(arguments, dequantize_kernels);
    return right.scratch_bytes() + QuantizedProduct(device, frame_of(arguments), right, kernels).scratch_bytes();
}

void multiply_quantized_packed(const speft_backend_device &device, const speft_multiply_quantized &arguments,
                               const ProductKernels &kernels, const DequantizeKernels &dequantize_kernels,
                               void *scratch) {
    QuantizedFactor right(arguments, dequantize_kernels);
    right.prepare(device, scratch);
    void *const left = static_cast<unsigned char *>(scratch) + right.scratch_bytes();
    QuantizedProduct(device, frame_of(arguments), right, kernels).run(left);
}

}  // namespace speft::cpu
