#include "core/storage/host_writer.h"

#include "core/storage/file_descriptor.h"

namespace speft {

void HostWriter::write(std::span<const std::byte> bytes) {
    if (const std::int32_t code = writer_.write(writer_.user, bytes.data(), bytes.size()))
        refuse_io("write", name(), code);
}

}  // namespace speft
