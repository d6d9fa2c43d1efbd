// What each operation of backend.h runs, by the file of kernels/ that has it. Work is enqueued on the device's stream;
// operations with results on the host wait for them. `scratch` is as the …_scratch beside it says; without one the
// operation needs none.
#pragma once

#include <cstdint>

#include "speft/backend.h"

namespace speft::cuda {

const speft_backend_implementation *list_implementations(std::int32_t operation, std::uint32_t *count);

// arrays.cu
void scale(speft_backend_device &device, const speft_scale &arguments, void *scratch);
void sum_squares(speft_backend_device &device, const speft_sum_squares &arguments, void *scratch);
std::uint64_t sum_squares_scratch(const speft_backend_device &device, const speft_sum_squares &arguments);
void add_values(speft_backend_device &device, const speft_add_values &arguments, void *scratch);
void add_column_squares(speft_backend_device &device, const speft_add_column_squares &arguments, void *scratch);
std::uint64_t add_column_squares_scratch(const speft_backend_device &device, const speft_add_column_squares &arguments);
void take(speft_backend_device &device, const speft_take &arguments, void *scratch);
void find_indices(speft_backend_device &device, const speft_find_indices &arguments, void *scratch);
void combine_indices(speft_backend_device &device, const speft_combine_indices &arguments, void *scratch);
std::uint64_t combine_indices_scratch(const speft_backend_device &device, const speft_combine_indices &arguments);

// segments.cu
void capture(speft_backend_device &device, const speft_capture &arguments, void *scratch);
void merge(speft_backend_device &device, const speft_merge_segments &arguments, void *scratch);
std::uint64_t merge_scratch(const speft_backend_device &device, const speft_merge_segments &arguments);
void unmerge(speft_backend_device &device, const speft_unmerge_segments &arguments, void *scratch);
std::uint64_t unmerge_scratch(const speft_backend_device &device, const speft_unmerge_segments &arguments);
void measure_rounding(speft_backend_device &device, const speft_measure_rounding &arguments, void *scratch);
std::uint64_t measure_rounding_scratch(const speft_backend_device &device, const speft_measure_rounding &arguments);

// steps.cu
void step_adamw(speft_backend_device &device, const speft_step_adamw &arguments, void *scratch);
void step_sgd(speft_backend_device &device, const speft_step_sgd &arguments, void *scratch);
void step_lion(speft_backend_device &device, const speft_step_lion &arguments, void *scratch);
void convert_moments(speft_backend_device &device, const speft_convert_moments &arguments, void *scratch);

// factored_steps.cu
void step_sm3(speft_backend_device &device, const speft_step_sm3 &arguments, void *scratch);
std::uint64_t step_sm3_scratch(const speft_backend_device &device, const speft_step_sm3 &arguments);
void step_adafactor(speft_backend_device &device, const speft_step_adafactor &arguments, void *scratch);
std::uint64_t step_adafactor_scratch(const speft_backend_device &device, const speft_step_adafactor &arguments);

// select_top.cu
void select_top(speft_backend_device &device, const speft_select_top &arguments, void *scratch);
std::uint64_t select_top_scratch(const speft_backend_device &device, const speft_select_top &arguments);
// NULL, or why sampling would not help.
const char *refuse_to_bracket(const speft_select_top &arguments);
void select_top_bracketed(speft_backend_device &device, const speft_select_top &arguments, void *scratch);
std::uint64_t select_top_bracketed_scratch(const speft_backend_device &device, const speft_select_top &arguments);
void select_rows(speft_backend_device &device, const speft_select_rows &arguments, void *scratch);
std::uint64_t select_rows_scratch(const speft_backend_device &device, const speft_select_rows &arguments);

// select_random.cu
void select_random(speft_backend_device &device, const speft_select_random &arguments, void *scratch);
std::uint64_t select_random_scratch(const speft_backend_device &device, const speft_select_random &arguments);

// add_product.cu: scalar by scalar, in tiles, and in tiles on tensor cores
void add_product(speft_backend_device &device, const speft_add_product &arguments, void *scratch);
std::uint64_t add_product_scratch(const speft_backend_device &device, const speft_add_product &arguments);
void add_product_in_tiles(speft_backend_device &device, const speft_add_product &arguments, void *scratch);
void add_product_on_tensor_cores(speft_backend_device &device, const speft_add_product &arguments, void *scratch);
std::uint64_t add_product_in_tiles_scratch(const speft_backend_device &device, const speft_add_product &arguments);
const char *refuse_gather_where_tiles_are_cheaper(const speft_backend_device *device, const void *arguments);
const char *refuse_product_on_tensor_cores(const speft_backend_device *device, const void *arguments);
void add_example_squares(speft_backend_device &device, const speft_add_example_squares &arguments, void *scratch);
void add_example_squares_on_tensor_cores(speft_backend_device &device, const speft_add_example_squares &arguments,
                                         void *scratch);
std::uint64_t add_example_squares_scratch(const speft_backend_device &device,
                                          const speft_add_example_squares &arguments);
const char *refuse_example_squares_on_tensor_cores(const speft_backend_device *device, const void *arguments);

// select_product.cu
void select_product(speft_backend_device &device, const speft_select_product &arguments, void *scratch);
void select_product_on_tensor_cores(speft_backend_device &device, const speft_select_product &arguments,
                                    void *scratch);
std::uint64_t select_product_scratch(const speft_backend_device &device, const speft_select_product &arguments);
const char *refuse_selection_on_tensor_cores(const speft_backend_device *device, const void *arguments);

// multiply.cu
void multiply(speft_backend_device &device, const speft_multiply &arguments, void *scratch);
// NULL when both factors are of the tensor cores' type, else why not.
const char *refuse_multiply_on_tensor_cores(const speft_backend_device *device, const void *arguments);
void multiply_on_tensor_cores(speft_backend_device &device, const speft_multiply &arguments, void *scratch);
void add_gram(speft_backend_device &device, const speft_add_gram &arguments, void *scratch);

// libraries/cublas.cpp: products of factors of one type, where there is a cuBLAS
const char *refuse_cublas(const speft_backend_device *device, const void *arguments);
void multiply_by_cublas(speft_backend_device &device, const speft_multiply &arguments, void *scratch);
std::uint64_t multiply_by_cublas_scratch(const speft_backend_device &device, const speft_multiply &arguments);

// multiply_sparse.cu
void multiply_sparse(speft_backend_device &device, const speft_multiply_sparse &arguments, void *scratch);
std::uint64_t multiply_sparse_scratch(const speft_backend_device &device, const speft_multiply_sparse &arguments);

// factorization/. Results are on the host, or the host has a part in them: these wait.
void factorize(speft_backend_device &device, const speft_factorize &arguments, void *scratch);
std::uint64_t factorize_scratch(const speft_backend_device &device, const speft_factorize &arguments);
void find_eigenvectors(speft_backend_device &device, const speft_find_eigenvectors &arguments, void *scratch);
const char *refuse_lapack(const speft_backend_device *device, const void *arguments);
void find_eigenvectors_by_lapack(speft_backend_device &device, const speft_find_eigenvectors &arguments,
                                 void *scratch);
const char *refuse_cusolver(const speft_backend_device *device, const void *arguments);
void find_eigenvectors_by_cusolver(speft_backend_device &device, const speft_find_eigenvectors &arguments,
                                   void *scratch);
std::uint64_t find_eigenvectors_by_cusolver_scratch(const speft_backend_device &device,
                                                    const speft_find_eigenvectors &arguments);

// quantize.cu
void quantize(speft_backend_device &device, const speft_quantize_blocks &arguments, void *scratch);
std::uint64_t quantize_scratch(const speft_backend_device &device, const speft_quantize_blocks &arguments);
void dequantize(speft_backend_device &device, const speft_dequantize_blocks &arguments, void *scratch);
void requantize(speft_backend_device &device, const speft_requantize_blocks &arguments, void *scratch);
std::uint64_t requantize_scratch(const speft_backend_device &device, const speft_requantize_blocks &arguments);

// multiply_quantized.cu
const char *refuse_codes(const speft_multiply_quantized &arguments);
void multiply_codes(speft_backend_device &device, const speft_multiply_quantized &arguments, void *scratch);
std::uint64_t multiply_codes_scratch(const speft_backend_device &device, const speft_multiply_quantized &arguments);
void multiply_quantized(speft_backend_device &device, const speft_multiply_quantized &arguments, void *scratch);
std::uint64_t multiply_quantized_scratch(const speft_backend_device &device,
                                         const speft_multiply_quantized &arguments);

}  // namespace speft::cuda
