// The entries of a sparse matrix, whose flat indices rise, by its rows.
#pragma once

#include <algorithm>

#include "backends/cpu/parallel.h"
#include "backends/cpu/product/factors.h"
#include "backends/cpu/scalar_types.h"

namespace speft::cpu {

class SparseRows {
public:
    SparseRows(const std::uint32_t *indices, const void *values, std::int32_t type, std::uint64_t count,
               std::uint64_t rows, std::uint64_t columns)
        : indices_(indices), values_(values), type_(type), count_(count), rows_(rows), columns_(columns) {}

    // For where the rows start, a multiple of 64 bytes. Without entries there is nothing to find.
    std::uint64_t scratch_bytes() const { return count_ == 0 ? 0 : round_up((rows_ + 1) * sizeof *starts_, 64); }

    void find_rows(const speft_backend_device &device, void *scratch) {
        if (count_ == 0) return;
        auto *const starts = static_cast<std::uint64_t *>(scratch);
        for_each_piece(device, Pieces(64, rows_), [&](Piece rows, std::int64_t) {
            std::uint64_t j = find(0, count_, rows.begin * columns_);
            for (std::uint64_t row = rows.begin; row < rows.end; ++row) {
                starts[row] = j;
                while (j < count_ && indices_[j] < (row + 1) * columns_) ++j;
            }
        });
        starts[rows_] = count_;
        starts_ = starts;
    }

    // visit(column, value) for the entries of a row that are in [begin, end), once rows have been found.
    template <class Visit>
    void visit(std::uint64_t row, std::uint64_t begin, std::uint64_t end, Visit &&visit) const {
        if (count_ == 0) return;
        const std::uint64_t origin = row * columns_, last = starts_[row + 1];
        std::uint64_t j = begin == 0 ? starts_[row] : find(starts_[row], last, origin + begin);
        for (; j < last && indices_[j] < origin + end; ++j) visit(indices_[j] - origin, value(j));
    }

private:
    std::uint64_t find(std::uint64_t first, std::uint64_t last, std::uint64_t index) const {
        return static_cast<std::uint64_t>(std::lower_bound(indices_ + first, indices_ + last, index) - indices_);
    }

    float value(std::uint64_t j) const {
        return type_ == SPEFT_SCALAR_FLOAT32 ? static_cast<const float *>(values_)[j]
                                             : to_float(static_cast<const BFloat16 *>(values_)[j]);
    }

    const std::uint32_t *indices_;
    const void *values_;
    std::int32_t type_;
    std::uint64_t count_, rows_, columns_;
    const std::uint64_t *starts_ = nullptr;  // [rows + 1]
};

}  // namespace speft::cpu
