// The k largest scores of each row: a row's keys with their columns, partitioned around the k-th largest. Scratch:
// one row for each thread that works.
#include <algorithm>
#include <functional>
#include <limits>

#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/reference/score_keys.h"
#include "core/base/status.h"

namespace speft::cpu {
namespace {

// The larger entry first: by its key, then by the smaller column.
using Entry = std::uint64_t;
constexpr std::uint32_t last_column = std::numeric_limits<std::uint32_t>::max();

Entry make_entry(std::uint32_t key, std::uint64_t column) {
    return std::uint64_t{key} << 32 | (last_column - static_cast<std::uint32_t>(column));
}

std::uint32_t column_of(Entry entry) {
    return last_column - static_cast<std::uint32_t>(entry);
}

// Writes the k indices of a row and returns how many of its scores are not NaN.
std::uint64_t select_row(const speft_select_rows &arguments, std::uint64_t row, Entry *entries) {
    const std::uint64_t columns = arguments.score.count / arguments.rows, k = arguments.k;
    std::uint64_t eligible = 0;
    constexpr std::uint64_t batch_size = 1024;
    std::uint32_t keys[batch_size];
    for (std::uint64_t first = 0; first < columns; first += batch_size) {
        const std::uint64_t count = std::min(batch_size, columns - first);
        compute_keys(arguments.score, row * columns + first, count, keys);
        for (std::uint64_t i = 0; i < count; ++i) {
            eligible += keys[i] != 0;
            entries[first + i] = make_entry(keys[i], first + i);
        }
    }
    std::nth_element(entries, entries + k, entries + columns, std::greater<>());
    std::uint32_t *const indices = arguments.indices + row * k;
    for (std::uint64_t j = 0; j < k; ++j)
        indices[j] = static_cast<std::uint32_t>(row * columns) + column_of(entries[j]);
    std::sort(indices, indices + k);
    return eligible;
}

std::int64_t count_lanes(const speft_backend_device &device, const speft_select_rows &arguments) {
    return std::min<std::int64_t>(device.threads, static_cast<std::int64_t>(arguments.rows));
}

}  // namespace

std::uint64_t select_rows_scratch(const speft_backend_device &device, const speft_select_rows &arguments) {
    if (arguments.rows == 0) return 0;
    return static_cast<std::uint64_t>(count_lanes(device, arguments)) * (arguments.score.count / arguments.rows) *
           sizeof(Entry);
}

void select_rows(const speft_backend_device &device, const speft_select_rows &arguments, void *scratch) {
    *arguments.short_row = arguments.rows;
    *arguments.eligible = 0;
    if (arguments.rows == 0) return;
    const std::uint64_t columns = arguments.score.count / arguments.rows;
    const std::int64_t lanes = count_lanes(device, arguments);
    // Reports go from the calling thread, between groups of rows.
    constexpr std::uint64_t rows_a_report = 4096;
    std::vector<std::uint64_t> eligible(std::min(rows_a_report, arguments.rows));
    for (std::uint64_t first = 0; first < arguments.rows; first += rows_a_report) {
        const std::uint64_t end = std::min(first + rows_a_report, arguments.rows);
        parallel_for(device, lanes, [&](std::int64_t lane) {
            Entry *const entries = static_cast<Entry *>(scratch) + static_cast<std::uint64_t>(lane) * columns;
            for (std::uint64_t row = first + static_cast<std::uint64_t>(lane); row < end;
                 row += static_cast<std::uint64_t>(lanes))
                eligible[row - first] = select_row(arguments, row, entries);
        });
        for (std::uint64_t row = first; row < end; ++row) {
            if (eligible[row - first] >= arguments.k) continue;
            *arguments.short_row = row;
            *arguments.eligible = eligible[row - first];
            return;
        }
        const speft_progress *progress = arguments.progress;
        if (progress && progress->report(progress->user, static_cast<std::int64_t>(end),
                                         static_cast<std::int64_t>(arguments.rows)) != 0)
            throw Failure(SPEFT_CANCELLED, "the selection was cancelled by the progress callback");
    }
}

}  // namespace speft::cpu
