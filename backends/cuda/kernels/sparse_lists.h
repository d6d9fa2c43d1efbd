// How a product with a sparse matrix is divided: its entries into chunks that are counted apart, and the dense factor's
// rows into groups that are turned at a time.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/base/scalar.h"

namespace speft::cuda {

// An entry that reaches a column of the target: the column of the dense factor that it takes, and its value.
struct alignas(8) SparseEntry {
    std::uint32_t place;
    float value;
};

// Entries are put in the order of their columns by counting, a chunk of them a warp: counters[chunk][column].
struct EntryChunks {
    static constexpr std::uint64_t least_size = 1024, most = 128, most_counters = 1 << 22;
    std::uint64_t size, count;

    EntryChunks(std::uint64_t entries, std::uint64_t columns) {
        const std::uint64_t fitting = std::max<std::uint64_t>(most_counters / std::max<std::uint64_t>(columns, 1), 1);
        const std::uint64_t wanted = std::min(most, fitting);
        size = std::max(least_size, (entries + wanted - 1) / wanted);
        count = (entries + size - 1) / size;
    }
};

// A lane takes `lane_rows` adjacent rows of the dense factor, as many as 16 bytes hold, or one where there are few.
struct RowGroups {
    static constexpr std::uint64_t few_rows = 64, lanes = 32;
    static constexpr std::uint64_t most_bytes = 16 << 20;  // of a turned group: it stays in the second-level cache
    std::uint64_t lane_rows;
    std::uint64_t rows;   // of a group: whole tiles, but where all rows are in it
    std::uint64_t pitch;  // of a turned column: the rows, rounded up to whole lanes

    RowGroups(std::uint64_t all_rows, std::uint64_t row_bytes, std::uint64_t element_bytes)
        : lane_rows(all_rows > few_rows ? 16 / element_bytes : 1) {
        const std::uint64_t tile = lanes * lane_rows;
        const std::uint64_t fitting = most_bytes / std::max<std::uint64_t>(row_bytes, 1) / tile * tile;
        rows = std::min(all_rows, std::max(fitting, tile));
        pitch = (rows + lane_rows - 1) / lane_rows * lane_rows;
    }
};

}  // namespace speft::cuda
