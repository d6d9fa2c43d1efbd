// What an adapter file says in words: options and declarations, as the JSON text in the file's "speft.adapter".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/storage/adapter_record.h"

namespace speft {

struct AdapterMetadata {
    AdapterRecord record;               // without hashes, indices and deltas; its declarations are checked
    std::vector<std::uint64_t> counts;  // of each parameter: how many deltas it has, at most as many as scalars
};

// `record` has passed check_record. Throws Failure(SPEFT_INVALID_ARGUMENT) for a number that has no word.
std::string format_metadata(const AdapterRecord &record);

// Throws Defect.
AdapterMetadata parse_metadata(const std::string &text);

}  // namespace speft
