// The tensors of a file as whoever reads them takes them: each once, and none is left over.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/storage/safetensors.h"

namespace speft {

class TensorReader {
public:
    explicit TensorReader(Tensors tensors) : tensors_(std::move(tensors)) {}

    bool has(const std::string &name) const { return tensors_.contains(name); }
    // Of those that are left.
    std::vector<std::string> names_with_prefix(const std::string &prefix) const;
    // Throws Defect unless it is there, in one of these types, in this shape.
    Tensor take(const std::string &name, std::initializer_list<std::string_view> types,
                const std::vector<std::int64_t> &shape);
    // Throws Defect unless it is there, in one of these types, with one axis.
    Tensor take_vector(const std::string &name, std::initializer_list<std::string_view> types);
    // Throws Defect when a tensor is left.
    void finish() const;

private:
    const Tensor &find(const std::string &name, std::initializer_list<std::string_view> types) const;

    Tensors tensors_;
};

// Consecutive parts of a tensor's bytes. Its size has been checked against what will be asked for.
class ByteCursor {
public:
    explicit ByteCursor(std::span<const std::byte> bytes) : rest_(bytes) {}

    std::span<const std::byte> next(std::uint64_t size) {
        const std::span<const std::byte> part = rest_.first(size);
        rest_ = rest_.subspan(size);
        return part;
    }

private:
    std::span<const std::byte> rest_;
};

}  // namespace speft
