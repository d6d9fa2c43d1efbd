// An adapter record as a safetensors file, and back. The format is described in docs/file-format.md.
#pragma once

#include <string>

#include "core/storage/adapter_record.h"
#include "speft/context.h"

namespace speft {

// Atomic: a temporary file beside `path`, synced, renamed; on any failure it is removed and `path` is untouched.
// Throws Failure: SPEFT_IO (native code: errno), SPEFT_CANCELLED. `progress` may be null.
void write_adapter_file(const AdapterRecord &record, const std::string &path, const speft_progress *progress);

// Throws Failure: SPEFT_IO, SPEFT_CORRUPT (hostile input is expected), SPEFT_UNSUPPORTED (a later format),
// SPEFT_CANCELLED. Progress is in parameters.
AdapterRecord read_adapter_file(const std::string &path, const speft_progress *progress = nullptr);

}  // namespace speft
