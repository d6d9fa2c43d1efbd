// Products in dense tiles by oneDNN, each on one thread of ours; at a mask, their selected scalars.
#pragma once

#include <cstdint>

#include "speft/backend.h"

namespace speft::cpu {

const char *refuse_onednn(const speft_backend_device *device, const void *arguments);
// Where only its kernels for AMX are wanted.
const char *refuse_onednn_amx(const speft_backend_device *device, const void *arguments);
std::uint64_t onednn_scratch(const speft_backend_device &device, const speft_add_product &arguments);
void add_product_onednn(const speft_backend_device &device, const speft_add_product &arguments, void *scratch);

const char *refuse_multiply_onednn(const speft_backend_device *device, const void *arguments);
const char *refuse_multiply_onednn_amx(const speft_backend_device *device, const void *arguments);
std::uint64_t multiply_onednn_scratch(const speft_backend_device &device, const speft_multiply &arguments);
void multiply_onednn(const speft_backend_device &device, const speft_multiply &arguments, void *scratch);

}  // namespace speft::cpu
