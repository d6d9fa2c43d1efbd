// Reading the caller's structs: their size may be that of an older or a newer header.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "core/base/status.h"

namespace speft {

template <class Pointer>
Pointer *require(Pointer *pointer, const char *name) {
    if (!pointer) refuse(std::string(name) + " must not be NULL");
    return pointer;
}

// A struct of this library's size from the caller's. `first_size` is the struct's size in the first version of the
// ABI; fields that the caller's header did not have keep their value in `defaults`; fields that this library does not
// have must be zero.
template <class Struct>
Struct read_struct(const Struct *given, const char *name, Struct defaults = {},
                   std::uint32_t first_size = sizeof(Struct)) {
    require(given, name);
    std::uint32_t size;
    std::memcpy(&size, given, sizeof size);
    if (size < first_size)
        refuse(std::string(name) + ": struct_size must be at least " + std::to_string(first_size) + "; got " +
               std::to_string(size) + " (is the struct initialized?)");
    const auto *bytes = reinterpret_cast<const unsigned char *>(given);
    for (std::uint32_t at = sizeof(Struct); at < size; ++at)
        if (bytes[at] != 0)
            refuse_unsupported(std::string(name) + ": it has a field that this version of libspeft does not know");
    std::memcpy(&defaults, given, std::min<std::size_t>(size, sizeof(Struct)));
    return defaults;
}

// Fills a struct of the caller's that this library writes, up to the size the caller has.
template <class Struct>
void write_struct(Struct *target, const char *name, Struct values, std::uint32_t first_size = sizeof(Struct)) {
    require(target, name);
    std::uint32_t size;
    std::memcpy(&size, target, sizeof size);
    if (size < first_size)
        refuse(std::string(name) + ": struct_size must be at least " + std::to_string(first_size) + "; got " +
               std::to_string(size) + " (set it before the call)");
    values.struct_size = size;
    std::memcpy(target, &values, std::min<std::size_t>(size, sizeof(Struct)));
}

// What an `_init` does: defaults up to the caller's size, zeros beyond.
template <class Struct>
void init_struct(Struct *target, std::uint32_t size, Struct defaults) {
    if (!target) return;
    std::memset(target, 0, size);
    defaults.struct_size = size;
    std::memcpy(target, &defaults, std::min<std::size_t>(size, sizeof(Struct)));
}

}  // namespace speft
