// The safetensors container: 8 bytes with the length of the header, little-endian; the header, a JSON object that
// gives each tensor its type, shape and place; the data, without holes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/storage/file_descriptor.h"
#include "speft/context.h"

namespace speft {

// A tensor to write; the bytes stay the caller's.
struct TensorBytes {
    std::string name;
    std::string type;  // "F32"
    std::vector<std::int64_t> shape;
    std::span<const std::byte> bytes;
};

// A tensor in a file. `size` agrees with type and shape.
struct TensorEntry {
    std::string type;
    std::vector<std::int64_t> shape;
    std::uint64_t offset;  // in the file
    std::uint64_t size;    // in bytes
};

// Throws Failure(SPEFT_IO) when it cannot be read and Defect when it is no safetensors file. Memory stays in
// proportion to the file's size, whatever the header claims.
class SafetensorsFile {
public:
    explicit SafetensorsFile(const std::string &path);

    const std::map<std::string, std::string> &metadata() const { return metadata_; }
    const std::map<std::string, TensorEntry> &tensors() const { return tensors_; }

    // `target` has the entry's size.
    void read(const TensorEntry &entry, std::span<std::byte> target) const;

private:
    std::string read_header(std::uint64_t file_size) const;
    void parse_header(const std::string &header, std::uint64_t data_size);
    void read_at(std::uint64_t offset, std::span<std::byte> target) const;

    std::string path_;
    FileDescriptor file_;
    std::map<std::string, std::string> metadata_;
    std::map<std::string, TensorEntry> tensors_;
};

// Atomic (see AtomicFile). Data lies in the order of `tensors`: give those with the widest scalars first, and all are
// aligned. Names are distinct UTF-8. `progress` may be null; it hears of bytes: first 0, last all of them, before the
// file appears. Throws Failure: SPEFT_IO, SPEFT_CANCELLED, SPEFT_INVALID_ARGUMENT when the header would be too long.
void write_safetensors(const std::string &path, const std::map<std::string, std::string> &metadata,
                       std::span<const TensorBytes> tensors, const speft_progress *progress);

}  // namespace speft
