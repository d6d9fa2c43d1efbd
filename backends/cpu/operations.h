// What each operation of backend.h runs.
#pragma once

#include <cstdint>

#include "speft/backend.h"

namespace speft::cpu {

// reference/
void add_values(const speft_backend_device &device, const speft_add_values &arguments);
void add_column_squares(const speft_backend_device &device, const speft_add_column_squares &arguments);
void select_top(const speft_backend_device &device, const speft_select_top &arguments);
void select_rows(const speft_backend_device &device, const speft_select_rows &arguments, void *scratch);
std::uint64_t select_rows_scratch(const speft_backend_device &device, const speft_select_rows &arguments);
void select_random(const speft_backend_device &device, const speft_select_random &arguments, void *scratch);
std::uint64_t select_random_scratch(const speft_backend_device &device, const speft_select_random &arguments);
void find_indices(const speft_backend_device &device, const speft_find_indices &arguments);
void combine_indices(const speft_backend_device &device, const speft_combine_indices &arguments, void *scratch);
std::uint64_t combine_indices_scratch(const speft_backend_device &device, const speft_combine_indices &arguments);
void take(const speft_backend_device &device, const speft_take &arguments);
void multiply(const speft_backend_device &device, const speft_multiply &arguments);
void multiply_sparse(const speft_backend_device &device, const speft_multiply_sparse &arguments);
void multiply_quantized(const speft_backend_device &device, const speft_multiply_quantized &arguments);
void sum_squares(const speft_backend_device &device, const speft_sum_squares &arguments);
void scale(const speft_backend_device &device, const speft_scale &arguments);
void step_adamw(const speft_backend_device &device, const speft_step_adamw &arguments);
void step_sgd(const speft_backend_device &device, const speft_step_sgd &arguments);
void step_lion(const speft_backend_device &device, const speft_step_lion &arguments);
void step_sm3(const speft_backend_device &device, const speft_step_sm3 &arguments, void *scratch);
std::uint64_t step_sm3_scratch(const speft_backend_device &device, const speft_step_sm3 &arguments);
void step_adafactor(const speft_backend_device &device, const speft_step_adafactor &arguments, void *scratch);
std::uint64_t step_adafactor_scratch(const speft_backend_device &device, const speft_step_adafactor &arguments);
void convert_moments(const speft_backend_device &device, const speft_convert_moments &arguments);
void capture(const speft_backend_device &device, const speft_capture &arguments);
void merge(const speft_backend_device &device, const speft_merge_segments &arguments, void *scratch);
std::uint64_t merge_scratch(const speft_backend_device &device, const speft_merge_segments &arguments);
void unmerge(const speft_backend_device &device, const speft_unmerge_segments &arguments, void *scratch);
std::uint64_t unmerge_scratch(const speft_backend_device &device, const speft_unmerge_segments &arguments);
void measure_rounding(const speft_backend_device &device, const speft_measure_rounding &arguments);
void quantize(const speft_backend_device &device, const speft_quantize_blocks &arguments);
void dequantize(const speft_backend_device &device, const speft_dequantize_blocks &arguments);
void requantize(const speft_backend_device &device, const speft_requantize_blocks &arguments);

// product/
struct DequantizeKernels;
struct ProductKernels;
std::uint64_t add_product_scratch(const speft_backend_device &device, const speft_add_product &arguments,
                                  const ProductKernels &kernels);
void add_product(const speft_backend_device &device, const speft_add_product &arguments,
                 const ProductKernels &kernels, void *scratch);
std::uint64_t select_product_scratch(const speft_backend_device &device, const speft_select_product &arguments,
                                     const ProductKernels &kernels);
void select_product(const speft_backend_device &device, const speft_select_product &arguments,
                    const ProductKernels &kernels, void *scratch);
std::uint64_t add_example_squares_scratch(const speft_backend_device &device,
                                          const speft_add_example_squares &arguments, const ProductKernels &kernels);
void add_example_squares(const speft_backend_device &device, const speft_add_example_squares &arguments,
                         const ProductKernels &kernels, void *scratch);
std::uint64_t multiply_packed_scratch(const speft_backend_device &device, const speft_multiply &arguments,
                                      const ProductKernels &kernels);
void multiply_packed(const speft_backend_device &device, const speft_multiply &arguments,
                     const ProductKernels &kernels, void *scratch);
std::uint64_t multiply_sparse_packed_scratch(const speft_backend_device &device,
                                             const speft_multiply_sparse &arguments, const ProductKernels &kernels);
void multiply_sparse_packed(const speft_backend_device &device, const speft_multiply_sparse &arguments,
                            const ProductKernels &kernels, void *scratch);
std::uint64_t multiply_quantized_packed_scratch(const speft_backend_device &device,
                                                const speft_multiply_quantized &arguments,
                                                const ProductKernels &kernels,
                                                const DequantizeKernels &dequantize_kernels);
void multiply_quantized_packed(const speft_backend_device &device, const speft_multiply_quantized &arguments,
                               const ProductKernels &kernels, const DequantizeKernels &dequantize_kernels,
                               void *scratch);
struct CodeKernels;
// NULL when the kernels are made for the case, else why not.
const char *refuse_codes(const speft_multiply_quantized &arguments, const CodeKernels &kernels);
std::uint64_t multiply_codes_scratch(const speft_backend_device &device, const speft_multiply_quantized &arguments,
                                     const CodeKernels &kernels);
void multiply_codes(const speft_backend_device &device, const speft_multiply_quantized &arguments,
                    const CodeKernels &kernels, void *scratch);

// factorization/
std::uint64_t factorize_scratch(const speft_backend_device &device, const speft_factorize &arguments,
                                const ProductKernels &kernels);
void factorize(const speft_backend_device &device, const speft_factorize &arguments, const ProductKernels &kernels,
               void *scratch);
std::uint64_t add_gram_scratch(const speft_backend_device &device, const speft_add_gram &arguments,
                               const ProductKernels &kernels);
void add_gram(const speft_backend_device &device, const speft_add_gram &arguments, const ProductKernels &kernels,
              void *scratch);
void find_eigenvectors(const speft_backend_device &device, const speft_find_eigenvectors &arguments);
// NULL when a LAPACK was found, else why not.
const char *refuse_lapack(const speft_backend_device *device, const void *arguments);
std::uint64_t find_eigenvectors_lapack_scratch(const speft_backend_device &device,
                                               const speft_find_eigenvectors &arguments);
void find_eigenvectors_lapack(const speft_backend_device &device, const speft_find_eigenvectors &arguments,
                              void *scratch);

// accumulation/
void add_values_avx2(const speft_backend_device &device, const speft_add_values &arguments);

// quantization/
struct QuantizeKernels;
// NULL when vectors can pay, else why not.
const char *refuse_to_quantize(const speft_quantize_blocks &arguments);
void quantize_vectors(const speft_backend_device &device, const speft_quantize_blocks &arguments,
                      const QuantizeKernels &kernels);
void dequantize_vectors(const speft_backend_device &device, const speft_dequantize_blocks &arguments,
                        const DequantizeKernels &kernels);

// selection/
struct ScoreFilter;
// NULL when bracketing can pay, else why not.
const char *refuse_to_bracket(const speft_select_top &arguments);
void select_top_bracketed(const speft_backend_device &device, const speft_select_top &arguments, void *scratch,
                          const ScoreFilter &filter);
std::uint64_t select_top_bracketed_scratch(const speft_backend_device &device, const speft_select_top &arguments);
struct RandomKernels;
void select_random_vectors(const speft_backend_device &device, const speft_select_random &arguments, void *scratch,
                           const RandomKernels &kernels);
std::uint64_t select_random_vectors_scratch(const speft_backend_device &device, const speft_select_random &arguments);

// The implementations of an operation, fastest first; NULL and 0 when there are none.
const speft_backend_implementation *list_implementations(std::int32_t operation, std::uint32_t *count) noexcept;

}  // namespace speft::cpu
