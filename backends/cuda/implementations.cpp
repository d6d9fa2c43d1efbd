// Which implementations each operation has, fastest first; the last takes every case.
#include <cstdint>

#include "backends/cuda/device.h"
#include "backends/cuda/guard.h"
#include "backends/cuda/operations.h"

namespace speft::cuda {
namespace {

const char *accept(const speft_backend_device *, const void *) { return nullptr; }

template <class Arguments, std::uint64_t (*bytes)(const speft_backend_device &, const Arguments &)>
std::uint64_t scratch_of(const speft_backend_device *device, const void *arguments) {
    return bytes(*device, *static_cast<const Arguments *>(arguments));
}

template <class Arguments, void (*operation)(speft_backend_device &, const Arguments &, void *)>
speft_status run(speft_backend_device *device, const void *arguments, void *scratch, speft_backend_failure *failure) {
    return guarded(device->ordinal, failure,
                   [&] { operation(*device, *static_cast<const Arguments *>(arguments), scratch); });
}

using Refusal = const char *(*)(const speft_backend_device *, const void *);

template <class Arguments, void (*operation)(speft_backend_device &, const Arguments &, void *)>
constexpr speft_backend_implementation without_scratch(const char *name, Refusal refuse = accept) {
    return {name, refuse, nullptr, run<Arguments, operation>};
}

template <class Arguments, void (*operation)(speft_backend_device &, const Arguments &, void *),
          std::uint64_t (*bytes)(const speft_backend_device &, const Arguments &)>
constexpr speft_backend_implementation with_scratch(const char *name, Refusal refuse = accept) {
    return {name, refuse, scratch_of<Arguments, bytes>, run<Arguments, operation>};
}

// arrays
constexpr speft_backend_implementation of_scale[] = {without_scratch<speft_scale, scale>("grouped")};
constexpr speft_backend_implementation of_sum_squares[] = {
    with_scratch<speft_sum_squares, sum_squares, sum_squares_scratch>("grouped")};
constexpr speft_backend_implementation of_add_values[] = {without_scratch<speft_add_values, add_values>("vectors")};
constexpr speft_backend_implementation of_add_column_squares[] = {
    with_scratch<speft_add_column_squares, add_column_squares, add_column_squares_scratch>("split")};
constexpr speft_backend_implementation of_take[] = {without_scratch<speft_take, take>("words")};
constexpr speft_backend_implementation of_find_indices[] = {
    without_scratch<speft_find_indices, find_indices>("tiles")};
constexpr speft_backend_implementation of_combine_indices[] = {
    with_scratch<speft_combine_indices, combine_indices, combine_indices_scratch>("merge_path")};

// steps
constexpr speft_backend_implementation of_step_adamw[] = {without_scratch<speft_step_adamw, step_adamw>("grouped")};
constexpr speft_backend_implementation of_step_sgd[] = {without_scratch<speft_step_sgd, step_sgd>("grouped")};
constexpr speft_backend_implementation of_step_lion[] = {without_scratch<speft_step_lion, step_lion>("grouped")};
constexpr speft_backend_implementation of_convert_moments[] = {
    without_scratch<speft_convert_moments, convert_moments>("vectors")};

// factored_steps
constexpr speft_backend_implementation of_step_sm3[] = {
    with_scratch<speft_step_sm3, step_sm3, step_sm3_scratch>("grouped")};
constexpr speft_backend_implementation of_step_adafactor[] = {
    with_scratch<speft_step_adafactor, step_adafactor, step_adafactor_scratch>("grouped")};

// gradients from activations
// Tiles take every case before the last implementation, which is the first one for who asks for it by name: it does not
// ask what is cheaper.
constexpr speft_backend_implementation of_add_product[] = {
    with_scratch<speft_add_product, add_product, add_product_scratch>("gather", refuse_gather_where_tiles_are_cheaper),
    with_scratch<speft_add_product, add_product_on_tensor_cores, add_product_in_tiles_scratch>(
        "tensor_core", refuse_product_on_tensor_cores),
    with_scratch<speft_add_product, add_product_in_tiles, add_product_in_tiles_scratch>("tiles"),
    with_scratch<speft_add_product, add_product, add_product_scratch>("gather_anyway")};
constexpr speft_backend_implementation of_add_example_squares[] = {
    with_scratch<speft_add_example_squares, add_example_squares_on_tensor_cores, add_example_squares_scratch>(
        "tensor_core", refuse_example_squares_on_tensor_cores),
    with_scratch<speft_add_example_squares, add_example_squares, add_example_squares_scratch>("tiles")};
constexpr speft_backend_implementation of_select_product[] = {
    with_scratch<speft_select_product, select_product_on_tensor_cores, select_product_scratch>(
        "tensor_core", refuse_selection_on_tensor_cores),
    with_scratch<speft_select_product, select_product, select_product_scratch>("tiles")};

// segments
constexpr speft_backend_implementation of_capture[] = {without_scratch<speft_capture, capture>("grouped")};
constexpr speft_backend_implementation of_merge[] = {
    with_scratch<speft_merge_segments, merge, merge_scratch>("grouped")};
constexpr speft_backend_implementation of_unmerge[] = {
    with_scratch<speft_unmerge_segments, unmerge, unmerge_scratch>("grouped")};
constexpr speft_backend_implementation of_measure_rounding[] = {
    with_scratch<speft_measure_rounding, measure_rounding, measure_rounding_scratch>("grouped")};

// quantize
constexpr speft_backend_implementation of_quantize[] = {
    with_scratch<speft_quantize_blocks, quantize, quantize_scratch>("blocks")};
constexpr speft_backend_implementation of_dequantize[] = {
    without_scratch<speft_dequantize_blocks, dequantize>("units")};
constexpr speft_backend_implementation of_requantize[] = {
    with_scratch<speft_requantize_blocks, requantize, requantize_scratch>("warps")};

// multiply_quantized
const char *refuse_multiply_codes(const speft_backend_device *, const void *arguments) {
    return refuse_codes(*static_cast<const speft_multiply_quantized *>(arguments));
}
constexpr speft_backend_implementation of_multiply_quantized[] = {
    with_scratch<speft_multiply_quantized, multiply_codes, multiply_codes_scratch>("codes", refuse_multiply_codes),
    with_scratch<speft_multiply_quantized, multiply_quantized, multiply_quantized_scratch>("tiled")};

// multiply
constexpr speft_backend_implementation of_multiply[] = {
    with_scratch<speft_multiply, multiply_by_cublas, multiply_by_cublas_scratch>("cublas", refuse_cublas),
    without_scratch<speft_multiply, multiply_on_tensor_cores>("tensor_core", refuse_multiply_on_tensor_cores),
    without_scratch<speft_multiply, multiply>("tiles")};
constexpr speft_backend_implementation of_add_gram[] = {without_scratch<speft_add_gram, add_gram>("tiles")};

// multiply_sparse
constexpr speft_backend_implementation of_multiply_sparse[] = {
    with_scratch<speft_multiply_sparse, multiply_sparse, multiply_sparse_scratch>("lists")};

// factorization
constexpr speft_backend_implementation of_factorize[] = {
    with_scratch<speft_factorize, factorize, factorize_scratch>("tiles")};
constexpr speft_backend_implementation of_find_eigenvectors[] = {
    with_scratch<speft_find_eigenvectors, find_eigenvectors_by_cusolver, find_eigenvectors_by_cusolver_scratch>(
        "cusolver", refuse_cusolver),
    without_scratch<speft_find_eigenvectors, find_eigenvectors_by_lapack>("lapack", refuse_lapack),
    without_scratch<speft_find_eigenvectors, find_eigenvectors>("host")};

// select_top
const char *refuse_bracketing(const speft_backend_device *, const void *arguments) {
    return refuse_to_bracket(*static_cast<const speft_select_top *>(arguments));
}
constexpr speft_backend_implementation of_select_top[] = {
    with_scratch<speft_select_top, select_top_bracketed, select_top_bracketed_scratch>("bracketed", refuse_bracketing),
    with_scratch<speft_select_top, select_top, select_top_scratch>("radix")};
constexpr speft_backend_implementation of_select_rows[] = {
    with_scratch<speft_select_rows, select_rows, select_rows_scratch>("radix")};

// select_random
constexpr speft_backend_implementation of_select_random[] = {
    with_scratch<speft_select_random, select_random, select_random_scratch>("buckets")};

struct Listed {
    const speft_backend_implementation *first = nullptr;
    std::uint32_t count = 0;
};

template <std::uint32_t size>
Listed all(const speft_backend_implementation (&implementations)[size]) {
    return {implementations, size};
}

Listed list(std::int32_t operation) {
    switch (operation) {
    // arrays
    case SPEFT_OPERATION_SCALE: return all(of_scale);
    case SPEFT_OPERATION_SUM_SQUARES: return all(of_sum_squares);
    case SPEFT_OPERATION_ADD_VALUES: return all(of_add_values);
    case SPEFT_OPERATION_ADD_COLUMN_SQUARES: return all(of_add_column_squares);
    case SPEFT_OPERATION_TAKE: return all(of_take);
    case SPEFT_OPERATION_FIND_INDICES: return all(of_find_indices);
    case SPEFT_OPERATION_COMBINE_INDICES: return all(of_combine_indices);
    // steps
    case SPEFT_OPERATION_STEP_ADAMW: return all(of_step_adamw);
    case SPEFT_OPERATION_STEP_SGD: return all(of_step_sgd);
    case SPEFT_OPERATION_STEP_LION: return all(of_step_lion);
    case SPEFT_OPERATION_CONVERT_MOMENTS: return all(of_convert_moments);
    // factored_steps
    case SPEFT_OPERATION_STEP_SM3: return all(of_step_sm3);
    case SPEFT_OPERATION_STEP_ADAFACTOR: return all(of_step_adafactor);
    // gradients from activations
    case SPEFT_OPERATION_ADD_PRODUCT: return all(of_add_product);
    case SPEFT_OPERATION_ADD_EXAMPLE_SQUARES: return all(of_add_example_squares);
    case SPEFT_OPERATION_SELECT_PRODUCT: return all(of_select_product);
    // segments
    case SPEFT_OPERATION_CAPTURE: return all(of_capture);
    case SPEFT_OPERATION_MERGE: return all(of_merge);
    case SPEFT_OPERATION_UNMERGE: return all(of_unmerge);
    case SPEFT_OPERATION_MEASURE_ROUNDING: return all(of_measure_rounding);
    // quantize
    case SPEFT_OPERATION_QUANTIZE: return all(of_quantize);
    case SPEFT_OPERATION_DEQUANTIZE: return all(of_dequantize);
    case SPEFT_OPERATION_REQUANTIZE: return all(of_requantize);
    // multiply_quantized
    case SPEFT_OPERATION_MULTIPLY_QUANTIZED: return all(of_multiply_quantized);
    // multiply
    case SPEFT_OPERATION_MULTIPLY: return all(of_multiply);
    case SPEFT_OPERATION_ADD_GRAM: return all(of_add_gram);
    // multiply_sparse
    case SPEFT_OPERATION_MULTIPLY_SPARSE: return all(of_multiply_sparse);
    // factorization
    case SPEFT_OPERATION_FACTORIZE: return all(of_factorize);
    case SPEFT_OPERATION_FIND_EIGENVECTORS: return all(of_find_eigenvectors);
    // select_top
    case SPEFT_OPERATION_SELECT_TOP: return all(of_select_top);
    case SPEFT_OPERATION_SELECT_ROWS: return all(of_select_rows);
    // select_random
    case SPEFT_OPERATION_SELECT_RANDOM: return all(of_select_random);
    default: return {};
    }
}

}  // namespace

const speft_backend_implementation *list_implementations(std::int32_t operation, std::uint32_t *count) {
    const Listed listed = list(operation);
    *count = listed.count;
    return listed.first;
}

}  // namespace speft::cuda
