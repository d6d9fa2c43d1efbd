// A host tensor that the edge has checked: row-major contiguous, sizes that multiply without overflow, and memory
// behind it unless it is empty.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "speft/tensor.h"

namespace speft {

using Shape = std::vector<std::int64_t>;

struct TensorView {
    void *data = nullptr;
    speft_device device{};
    speft_dtype dtype{};
    Shape shape;
    std::uint64_t size = 1;  // the product of the shape
};

inline bool same_dtype(speft_dtype a, speft_dtype b) {
    return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}

// For messages: "float32", "[384, 1536]", "cpu:0".
std::string describe(speft_dtype dtype);
std::string describe(const Shape &shape);
std::string describe(speft_device device);

}  // namespace speft
