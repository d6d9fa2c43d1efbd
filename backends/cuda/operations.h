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

}  // namespace speft::cuda
