// The operations a backend may have: their names, and which argument struct belongs to which number. A new operation
// is a struct and a number in speft/backend.h, and a line in each list here.
#pragma once

#include <cstdint>

#include "speft/backend.h"

namespace speft {

// In the order of SPEFT_OPERATION_…
inline constexpr const char *operation_names[] = {
    "add_values", "add_product", "select_top", "select_random", "sum_squares", "scale",
    "step_adamw", "capture",     "merge",      "unmerge",       "select_rows", "step_sgd",
    "measure_rounding", "add_example_squares", "add_column_squares", "select_product", "factorize", "find_indices",
    "combine_indices", "take", "step_lion", "step_sm3", "step_adafactor", "convert_moments",
    "add_gram", "find_eigenvectors", "multiply", "multiply_sparse",
    "quantize", "dequantize", "multiply_quantized", "requantize",
};
static_assert(sizeof operation_names / sizeof *operation_names == SPEFT_OPERATION_COUNT);

template <class Arguments>
inline constexpr std::int32_t operation_of = -1;
template <> inline constexpr std::int32_t operation_of<speft_add_values> = SPEFT_OPERATION_ADD_VALUES;
template <> inline constexpr std::int32_t operation_of<speft_add_product> = SPEFT_OPERATION_ADD_PRODUCT;
template <> inline constexpr std::int32_t operation_of<speft_select_top> = SPEFT_OPERATION_SELECT_TOP;
template <> inline constexpr std::int32_t operation_of<speft_select_random> = SPEFT_OPERATION_SELECT_RANDOM;
template <> inline constexpr std::int32_t operation_of<speft_sum_squares> = SPEFT_OPERATION_SUM_SQUARES;
template <> inline constexpr std::int32_t operation_of<speft_scale> = SPEFT_OPERATION_SCALE;
template <> inline constexpr std::int32_t operation_of<speft_step_adamw> = SPEFT_OPERATION_STEP_ADAMW;
template <> inline constexpr std::int32_t operation_of<speft_capture> = SPEFT_OPERATION_CAPTURE;
template <> inline constexpr std::int32_t operation_of<speft_merge_segments> = SPEFT_OPERATION_MERGE;
template <> inline constexpr std::int32_t operation_of<speft_unmerge_segments> = SPEFT_OPERATION_UNMERGE;
template <> inline constexpr std::int32_t operation_of<speft_select_rows> = SPEFT_OPERATION_SELECT_ROWS;
template <> inline constexpr std::int32_t operation_of<speft_step_sgd> = SPEFT_OPERATION_STEP_SGD;
template <> inline constexpr std::int32_t operation_of<speft_measure_rounding> = SPEFT_OPERATION_MEASURE_ROUNDING;
template <> inline constexpr std::int32_t operation_of<speft_add_example_squares> = SPEFT_OPERATION_ADD_EXAMPLE_SQUARES;
template <> inline constexpr std::int32_t operation_of<speft_add_column_squares> = SPEFT_OPERATION_ADD_COLUMN_SQUARES;
template <> inline constexpr std::int32_t operation_of<speft_select_product> = SPEFT_OPERATION_SELECT_PRODUCT;
template <> inline constexpr std::int32_t operation_of<speft_factorize> = SPEFT_OPERATION_FACTORIZE;
template <> inline constexpr std::int32_t operation_of<speft_find_indices> = SPEFT_OPERATION_FIND_INDICES;
template <> inline constexpr std::int32_t operation_of<speft_combine_indices> = SPEFT_OPERATION_COMBINE_INDICES;
template <> inline constexpr std::int32_t operation_of<speft_take> = SPEFT_OPERATION_TAKE;
template <> inline constexpr std::int32_t operation_of<speft_step_lion> = SPEFT_OPERATION_STEP_LION;
template <> inline constexpr std::int32_t operation_of<speft_step_sm3> = SPEFT_OPERATION_STEP_SM3;
template <> inline constexpr std::int32_t operation_of<speft_step_adafactor> = SPEFT_OPERATION_STEP_ADAFACTOR;
template <> inline constexpr std::int32_t operation_of<speft_convert_moments> = SPEFT_OPERATION_CONVERT_MOMENTS;
template <> inline constexpr std::int32_t operation_of<speft_add_gram> = SPEFT_OPERATION_ADD_GRAM;
template <> inline constexpr std::int32_t operation_of<speft_find_eigenvectors> = SPEFT_OPERATION_FIND_EIGENVECTORS;
template <> inline constexpr std::int32_t operation_of<speft_multiply> = SPEFT_OPERATION_MULTIPLY;
template <> inline constexpr std::int32_t operation_of<speft_multiply_sparse> = SPEFT_OPERATION_MULTIPLY_SPARSE;
template <> inline constexpr std::int32_t operation_of<speft_quantize_blocks> = SPEFT_OPERATION_QUANTIZE;
template <> inline constexpr std::int32_t operation_of<speft_dequantize_blocks> = SPEFT_OPERATION_DEQUANTIZE;
template <>
inline constexpr std::int32_t operation_of<speft_multiply_quantized> = SPEFT_OPERATION_MULTIPLY_QUANTIZED;
template <> inline constexpr std::int32_t operation_of<speft_requantize_blocks> = SPEFT_OPERATION_REQUANTIZE;

// The number of an operation by its name; throws INVALID_ARGUMENT with the names there are.
std::int32_t find_operation(const char *name);

}  // namespace speft
