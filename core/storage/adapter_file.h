// An adapter record as a safetensors file, and back. The format is described in docs/file-format.md.
#pragma once

#include <cstdint>

#include "core/storage/adapter_record.h"
#include "core/storage/byte_sink.h"
#include "core/storage/byte_source.h"
#include "speft/context.h"

namespace speft {

// `format` is SPEFT_FORMAT_…. Commits the sink. Throws Failure: SPEFT_IO (native code: errno), SPEFT_CANCELLED.
// `progress` may be null.
void write_adapter_file(const AdapterRecord &record, std::int32_t format, ByteSink &sink,
                        const speft_progress *progress);

// Throws Failure: SPEFT_IO, SPEFT_CORRUPT (hostile input is expected), SPEFT_UNSUPPORTED (another format),
// SPEFT_CANCELLED.
AdapterRecord read_adapter_file(const ByteSource &source, const speft_progress *progress);

}  // namespace speft
