#include "core/storage/checksum.h"

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "core/base/hash.h"
#include "core/storage/metadata_keys.h"

namespace speft {

namespace {

std::uint64_t hash_text(const std::string &text) { return hash_bytes(text.data(), text.size()); }

}  // namespace

std::string compute_checksum(const TensorMetadata &metadata, const Tensors &tensors) {
    std::vector<std::uint64_t> hashes;
    for (const char *key : {adapter_key, training_key})
        if (const auto found = metadata.find(key); found != metadata.end())
            hashes.push_back(hash_text(found->second));
    for (const auto &[name, tensor] : tensors) {
        hashes.push_back(hash_text(name));
        hashes.push_back(hash_bytes(tensor.bytes.data(), tensor.bytes.size()));
    }
    char text[17];
    std::snprintf(text, sizeof text, "%016" PRIx64, hash_bytes(hashes.data(), hashes.size() * sizeof hashes[0]));
    return text;
}

}  // namespace speft
