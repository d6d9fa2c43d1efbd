// The rows and columns of indices that come in rising order.
#pragma once

#include <cstdint>

namespace speft::cpu {

class MatrixWalk {
public:
    explicit MatrixWalk(std::uint64_t columns) : columns_(columns) {}

    // Of an index that is not below any before it. Divides only where a row ends.
    void go_to(std::uint64_t index) {
        if (index >= row_end_) {
            row_ = index / columns_;
            row_end_ = (row_ + 1) * columns_;
        }
        column_ = index - (row_end_ - columns_);
    }

    std::uint64_t row() const { return row_; }
    std::uint64_t column() const { return column_; }

private:
    std::uint64_t columns_;
    std::uint64_t row_ = 0;
    std::uint64_t row_end_ = 0;
    std::uint64_t column_ = 0;
};

}  // namespace speft::cpu
