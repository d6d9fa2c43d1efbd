// What a checkpoint holds beyond an adapter: the JSON text in the file's "speft.training", and tensors.
#pragma once

#include <string>

#include "core/storage/adapter_record.h"
#include "core/storage/safetensors.h"
#include "core/storage/tensor_reader.h"

namespace speft {

// `record` has a training and has passed check_record.
std::string format_training(const AdapterRecord &record);
void add_training_tensors(const AdapterRecord &record, Tensors &tensors);

// Gives `record`, complete but for it, its training. Throws Defect.
void take_training(const std::string &text, TensorReader &tensors, AdapterRecord &record);

}  // namespace speft
