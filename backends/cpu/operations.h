// What each operation of backend.h runs.
#pragma once

#include <cstdint>

#include "speft/backend.h"

namespace speft::cpu {

// reference/
void add_values(const speft_backend_device &device, const speft_add_values &arguments);
void select_top(const speft_backend_device &device, const speft_select_top &arguments);
void select_random(const speft_backend_device &device, const speft_select_random &arguments);
void sum_squares(const speft_backend_device &device, const speft_sum_squares &arguments);
void scale(const speft_backend_device &device, const speft_scale &arguments);
void step_adamw(const speft_backend_device &device, const speft_step_adamw &arguments);
void capture(const speft_backend_device &device, const speft_capture &arguments);
void compare(const speft_backend_device &device, const speft_compare &arguments);
void merge(const speft_backend_device &device, const speft_merge_segments &arguments);
void unmerge(const speft_backend_device &device, const speft_unmerge_segments &arguments);

// product/
struct ProductKernels;
void add_product(const speft_backend_device &device, const speft_add_product &arguments,
                 const ProductKernels &kernels);

// The implementations of an operation, fastest first; NULL and 0 when there are none.
const speft_backend_implementation *list_implementations(std::int32_t operation, std::uint32_t *count) noexcept;

}  // namespace speft::cpu
