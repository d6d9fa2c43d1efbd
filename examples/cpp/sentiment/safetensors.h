// Reading a safetensors file of float32 tensors, and the numbers of a model's config.json.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

struct StoredTensor {
    std::vector<std::int64_t> shape;
    std::vector<float> values;
};

// All float32 tensors of a file by name; others are passed over.
std::map<std::string, StoredTensor> read_safetensors(const std::string &path);

// The number under `key` in a flat JSON file.
double read_number(const std::string &path, const std::string &key);
