// Loops over tasks on a device's threads. Tasks are cut by the sizes of the data alone, so that nothing computed task
// by task depends on the number of threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "backends/cpu/device.h"
#include "backends/cpu/job.h"

namespace speft::cpu {

void run_tasks(const speft_backend_device &device, std::int64_t count, Job::Body body, void *argument);

// body(index) for each index in [0, count), in any order, side by side; what a body throws is thrown here.
template <class Body>
void parallel_for(const speft_backend_device &device, std::int64_t count, Body &&body) {
    run_tasks(
        device, count,
        [](void *argument, std::int64_t index) { (*static_cast<std::remove_reference_t<Body> *>(argument))(index); },
        &body);
}

// Elements [begin, end) of one of several arrays.
struct Piece {
    std::size_t array;
    std::uint64_t begin;
    std::uint64_t end;
};

// Several arrays, cut into pieces of at most `piece_size` elements; numbered by array, then by place.
class Pieces {
public:
    explicit Pieces(std::uint64_t piece_size) : piece_size_(piece_size), first_{0} {}
    // Of one array: takes no memory, so that it can be made where a result is half written.
    Pieces(std::uint64_t piece_size, std::uint64_t count) : piece_size_(piece_size), only_(count) {}

    // To those of the first constructor.
    void add(std::uint64_t count) {
        counts_.push_back(count);
        first_.push_back(first_.back() + pieces_of(count));
    }

    std::int64_t count() const { return first_.empty() ? pieces_of(only_) : first_.back(); }

    Piece operator[](std::int64_t index) const {
        if (first_.empty()) {
            const std::uint64_t begin = static_cast<std::uint64_t>(index) * piece_size_;
            return {0, begin, std::min(begin + piece_size_, only_)};
        }
        const auto array = std::upper_bound(first_.begin(), first_.end(), index) - first_.begin() - 1;
        const std::uint64_t begin = static_cast<std::uint64_t>(index - first_[array]) * piece_size_;
        return {static_cast<std::size_t>(array), begin, std::min(begin + piece_size_, counts_[array])};
    }

private:
    std::int64_t pieces_of(std::uint64_t count) const {
        return static_cast<std::int64_t>((count + piece_size_ - 1) / piece_size_);
    }

    std::uint64_t piece_size_;
    std::uint64_t only_ = 0;
    std::vector<std::uint64_t> counts_;
    std::vector<std::int64_t> first_;  // the number of each array's first piece, and past the last; empty of one array
};

// body(piece, index) for each piece.
template <class Body>
void for_each_piece(const speft_backend_device &device, const Pieces &pieces, Body &&body) {
    parallel_for(device, pieces.count(), [&](std::int64_t index) { body(pieces[index], index); });
}

}  // namespace speft::cpu
