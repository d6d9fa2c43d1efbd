// What an adapter file holds in tensors: hashes, indices, deltas and values.
#pragma once

#include <cstdint>

#include "core/storage/adapter_metadata.h"
#include "core/storage/safetensors.h"
#include "core/storage/tensor_reader.h"

namespace speft {

// `format` is SPEFT_FORMAT_…; `record` has passed check_record.
void add_adapter_tensors(const AdapterRecord &record, std::int32_t format, Tensors &tensors);

// Fills in what the metadata's record lacks. Throws Defect.
void take_adapter_tensors(TensorReader &tensors, AdapterMetadata &metadata);

}  // namespace speft
