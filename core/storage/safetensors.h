// The safetensors container: 8 bytes with the length of the header, little-endian; the header, a JSON object that
// gives each tensor its type, shape and place; the data, without holes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/storage/byte_sink.h"
#include "core/storage/byte_source.h"
#include "speft/context.h"

namespace speft {

class JsonObject;

// `bytes` has the size that belongs to type and shape.
struct Tensor {
    std::string type;  // "F32"
    std::vector<std::int64_t> shape;
    std::vector<std::byte> bytes;
};

using Tensors = std::map<std::string, Tensor>;                // by name
using TensorMetadata = std::map<std::string, std::string>;  // "__metadata__"

// Its header is read and checked at once, its data on demand. Throws Defect when it is no safetensors file. Time and
// memory stay in proportion to the source's size, whatever the header claims. The source must outlive it.
class SafetensorsFile {
public:
    explicit SafetensorsFile(const ByteSource &source);

    const TensorMetadata &metadata() const { return metadata_; }
    // `progress` may be null; it hears of bytes of data. Throws Failure(SPEFT_CANCELLED).
    Tensors read_tensors(const speft_progress *progress) const;

private:
    // A tensor in the source. `size` agrees with type and shape.
    struct Entry {
        std::string type;
        std::vector<std::int64_t> shape;
        std::uint64_t offset;  // in the data
        std::uint64_t size;    // in bytes
    };

    static Entry parse_entry(const std::string &name, const JsonObject &object);
    std::string read_header() const;
    void parse_header(const std::string &header);
    void check_coverage() const;

    const ByteSource &source_;
    std::uint64_t data_begin_ = 0;
    TensorMetadata metadata_;
    std::map<std::string, Entry> entries_;
};

// The widest scalars come first, so that all are aligned; then by name. `progress` may be null; it hears of bytes of
// the file, and last before the sink's commit. Throws Failure: SPEFT_IO, SPEFT_CANCELLED, and SPEFT_INVALID_ARGUMENT
// when the header would be too long.
void write_safetensors(ByteSink &sink, const TensorMetadata &metadata, const Tensors &tensors,
                       const speft_progress *progress);

}  // namespace speft
