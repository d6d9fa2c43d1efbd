// One product of two matrices by oneDNN, on one thread of ours.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backends/cpu/product/onednn_library.h"

namespace speft::cpu {

// float32 or bfloat16, and how many elements lie from a row to the next and from a column to the next.
struct OneDnnMatrix {
    std::int32_t type;
    std::uint64_t row_stride, column_stride;
};

// tile[rows][columns] = left·right over `terms`, in float32.
class Multiplication {
public:
    Multiplication(const OneDnn &library, const OneDnnMatrix &left, const OneDnnMatrix &right, std::uint64_t rows,
                   std::uint64_t columns, std::uint64_t terms);

    std::uint64_t scratchpad_bytes() const;
    void run(const void *left, const void *right, float *tile, void *scratchpad_memory) const;

private:
    template <class Object>
    using Owned = std::unique_ptr<Object, dnnl_status_t (*)(Object *)>;

    static Owned<dnnl_memory_desc> describe(const OneDnn &library, const OneDnnMatrix &matrix, std::uint64_t rows,
                                            std::uint64_t columns);
    Owned<dnnl_memory> view(const_dnnl_memory_desc_t description, const void *values) const;
    Owned<dnnl_primitive_desc> describe_product() const;
    const_dnnl_memory_desc_t scratchpad() const;

    const OneDnn &library_;
    const Owned<dnnl_memory_desc> left_, right_, tile_;
    const Owned<dnnl_primitive_desc> description_;
};

// The sizes that tiles or blocks have: whole, and what is left at the end.
inline std::vector<std::uint64_t> sizes_of_parts(std::uint64_t length, std::uint64_t whole) {
    std::vector<std::uint64_t> sizes;
    if (length >= whole) sizes.push_back(whole);
    if (length % whole) sizes.push_back(length % whole);
    return sizes;
}

}  // namespace speft::cpu
