// Products with a sparse matrix. A warp sums a column of the target for many rows at once, along a list of the entries
// that reach it; its lanes are rows, of which the dense factor is turned for them, a group at a time.
//
// Where the target's columns are the sparse matrix's rows, its entries are in turn. Else they are put so by counting: a
// warp counts in its chunk of them, and as a row has a column once, the lanes of a row never meet.
//
// Scratch: the turned group, the lists, and the counters.
#include "backends/cuda/kernels/block.h"
#include "backends/cuda/kernels/launch.h"
#include "backends/cuda/kernels/scalars.h"
#include "backends/cuda/kernels/sparse_lists.h"
#include "backends/cuda/operations.h"

namespace speft::cuda {
namespace {

// ---- the lists ----

struct SparseMatrix {
    const std::uint32_t *indices;
    const void *values;
    std::uint64_t count, columns;
    std::int32_t values_type;
};

// entries[starts[line] … starts[line + 1]) reach column `line` of the target, in the order of their other coordinate.
struct Lists {
    SparseEntry *entries;
    std::uint64_t *starts;
};

__global__ void list_rows(SparseMatrix matrix, std::uint64_t rows, Lists lists) {
    for (std::uint64_t row = first_item(); row <= rows; row += item_stride()) {
        std::uint64_t low = 0, high = matrix.count;
        while (low < high) {
            const std::uint64_t middle = (low + high) / 2;
            if (matrix.indices[middle] < row * matrix.columns)
                low = middle + 1;
            else
                high = middle;
        }
        lists.starts[row] = low;
    }
    for (std::uint64_t j = first_item(); j < matrix.count; j += item_stride())
        lists.entries[j] = {static_cast<std::uint32_t>(matrix.indices[j] % matrix.columns),
                            load(matrix.values, matrix.values_type, j)};
}

__global__ void count_columns(SparseMatrix matrix, std::uint64_t chunk_size, std::uint32_t *counters) {
    for (std::uint64_t j = first_item(); j < matrix.count; j += item_stride())
        atomicAdd(&counters[j / chunk_size * matrix.columns + matrix.indices[j] % matrix.columns], 1u);
}

// A counter becomes what the chunks before it have in its column, and starts[column] what all of them have.
__global__ void sum_chunks(std::uint64_t chunks, std::uint64_t columns, std::uint32_t *counters,
                           std::uint64_t *starts) {
    for (std::uint64_t column = first_item(); column < columns; column += item_stride()) {
        std::uint32_t before = 0;
#pragma unroll 8
        for (std::uint64_t chunk = 0; chunk < chunks; ++chunk) {
            const std::uint32_t own = counters[chunk * columns + column];
            counters[chunk * columns + column] = before;
            before += own;
        }
        starts[column] = before;
    }
}

// One block: each start becomes what is before it.
__global__ void sum_columns(std::uint64_t columns, std::uint64_t *starts) {
    std::uint64_t before = 0;
    for (std::uint64_t first = 0; first < columns; first += block_threads) {
        const std::uint64_t column = first + threadIdx.x;
        const std::uint64_t own = column < columns ? starts[column] : 0;
        std::uint64_t total = 0;
        const std::uint64_t sum = before + block_sum_before(own, total);
        if (column < columns) starts[column] = sum;
        before += total;
    }
    if (threadIdx.x == 0) starts[columns] = before;
}

// A warp a chunk, row after row.
__global__ void list_columns(SparseMatrix matrix, std::uint64_t chunk_size, std::uint32_t *counters, Lists lists) {
    const std::uint64_t begin = blockIdx.x * chunk_size, end = min(begin + chunk_size, matrix.count);
    std::uint32_t *const own = counters + blockIdx.x * matrix.columns;
    for (std::uint64_t first = begin; first < end; first += warp_threads) {
        const std::uint64_t j = first + threadIdx.x;
        const std::uint32_t index = j < end ? matrix.indices[j] : 0;
        const float value = j < end ? load(matrix.values, matrix.values_type, j) : 0;
        const auto row = static_cast<std::uint32_t>(index / matrix.columns);
        const auto column = index - row * matrix.columns;
        const std::uint64_t start = lists.starts[column];
        for (unsigned left = __ballot_sync(full_warp, j < end); left != 0;) {
            const std::uint32_t current = __shfl_sync(full_warp, row, __ffs(static_cast<int>(left)) - 1);
            const bool is_in_row = j < end && row == current;
            if (is_in_row) lists.entries[start + own[column]++] = {row, value};
            __syncwarp();
            left &= ~__ballot_sync(full_warp, is_in_row);
        }
    }
}

// ---- the dense factor ----

constexpr unsigned turn_side = 32;

struct TurnedGroup {
    std::uint64_t first_row, rows, pitch, columns;
};

// turned[column][row] = a[first_row + row][column], 0 for rows that are there for whole vectors only.
template <class Element>
__global__ void turn_rows(const Element *a, TurnedGroup group, Element *turned) {
    __shared__ Element tile[turn_side][turn_side + 1];
    constexpr unsigned step = block_threads / turn_side;
    const std::uint64_t across = (group.columns + turn_side - 1) / turn_side;
    const std::uint64_t row = blockIdx.x / across * turn_side, column = blockIdx.x % across * turn_side;
    const unsigned x = threadIdx.x % turn_side, y = threadIdx.x / turn_side;
    for (unsigned i = y; i < turn_side; i += step)
        tile[i][x] = row + i < group.rows && column + x < group.columns
                         ? a[(group.first_row + row + i) * group.columns + column + x]
                         : Element{0};
    __syncthreads();
    for (unsigned i = y; i < turn_side; i += step)
        if (column + i < group.columns && row + x < group.pitch)
            turned[(column + i) * group.pitch + row + x] = tile[x][i];
}

// ---- the product ----

constexpr unsigned tile_lines = 32;  // columns of the target, a block
constexpr unsigned block_warps = block_threads / warp_threads;

struct Target {
    void *values;
    std::int32_t type;
    bool accumulate;
    float scale;
    std::uint64_t columns;
};

template <class Scalar, unsigned count>
struct alignas(count * sizeof(Scalar)) LaneRows {
    Scalar values[count];
};

template <class Scalar, unsigned lane_rows>
__global__ void multiply_lists(const Scalar *turned, TurnedGroup group, Lists lists, Target target) {
    constexpr unsigned tile_rows = warp_threads * lane_rows;
    __shared__ float sums[tile_lines][tile_rows + 1];  // row i is at i % lane_rows · 32 + i / lane_rows
    const std::uint64_t across = (target.columns + tile_lines - 1) / tile_lines;
    const std::uint64_t first_line = blockIdx.x % across * tile_lines, first_row = blockIdx.x / across * tile_rows;
    const std::uint64_t row = first_row + lane() * lane_rows;
    for (unsigned line = warp(); line < tile_lines; line += block_warps) {
        float own[lane_rows] = {};
        if (first_line + line < target.columns && row < group.pitch) {
            const std::uint64_t end = lists.starts[first_line + line + 1];
#pragma unroll 4
            for (std::uint64_t j = lists.starts[first_line + line]; j < end; ++j) {
                const SparseEntry entry = lists.entries[j];
                const auto rows = *reinterpret_cast<const LaneRows<Scalar, lane_rows> *>(
                    turned + entry.place * group.pitch + row);
#pragma unroll
                for (unsigned i = 0; i < lane_rows; ++i)
                    own[i] = fmaf(to_float(rows.values[i]), entry.value, own[i]);
            }
        }
#pragma unroll
        for (unsigned i = 0; i < lane_rows; ++i) sums[line][i * warp_threads + lane()] = own[i];
    }
    __syncthreads();
    if (first_line + lane() >= target.columns) return;
    visit_scalar(target.type, [&](auto scalar) {
        auto *const values = static_cast<decltype(scalar) *>(target.values);
        for (unsigned i = warp(); i < tile_rows && first_row + i < group.rows; i += block_warps) {
            auto &place = values[(group.first_row + first_row + i) * target.columns + first_line + lane()];
            const float base = target.accumulate ? to_float(place) : 0.0f;
            place = from_float<decltype(scalar)>(
                base + target.scale * sums[lane()][i % lane_rows * warp_threads + i / lane_rows]);
        }
    });
}

// ---- launches ----

constexpr const char *name = "multiply_sparse";

class SparseProduct {
public:
    SparseProduct(const speft_backend_device &device, const speft_multiply_sparse &arguments)
        : device_(device),
          m_(arguments),
          words_(m_.transposed ? m_.sparse_columns : m_.sparse_rows),
          lines_(m_.transposed ? m_.sparse_rows : m_.sparse_columns),
          chunks_(m_.count, lines_),
          groups_(m_.rows, words_ * scalar_bytes(m_.a_type), scalar_bytes(m_.a_type)) {}

    bool is_empty() const { return m_.rows == 0 || lines_ == 0; }

    std::uint64_t scratch_bytes() const { return turned_bytes() + entries_bytes() + starts_bytes() + counters_bytes(); }

    void run(void *scratch) {
        auto *const memory = static_cast<unsigned char *>(scratch);
        unsigned char *const starts = memory + turned_bytes() + entries_bytes();
        lists_.entries = reinterpret_cast<SparseEntry *>(memory + turned_bytes());
        lists_.starts = reinterpret_cast<std::uint64_t *>(starts);
        if (m_.transposed)
            make_lists_of_rows();
        else
            make_lists_of_columns(reinterpret_cast<std::uint32_t *>(starts + starts_bytes()));
        visit_scalar(m_.a_type, [&](auto scalar) { multiply(static_cast<decltype(scalar) *>(scratch)); });
    }

private:
    static std::uint64_t round_up(std::uint64_t bytes) { return (bytes + 63) / 64 * 64; }
    std::uint64_t turned_bytes() const { return round_up(words_ * groups_.pitch * scalar_bytes(m_.a_type)); }
    std::uint64_t entries_bytes() const { return round_up(m_.count * sizeof(SparseEntry)); }
    std::uint64_t starts_bytes() const { return round_up((lines_ + 1) * sizeof(std::uint64_t)); }
    std::uint64_t counters_bytes() const {
        return m_.transposed ? 0 : chunks_.count * lines_ * sizeof(std::uint32_t);
    }

    SparseMatrix matrix() const { return {m_.indices, m_.values, m_.count, m_.sparse_columns, m_.values_type}; }

    void make_lists_of_rows() const {
        launch(device_, name, {.blocks = count_blocks(device_, std::max(m_.count, lines_ + 1), block_threads)},
               list_rows, matrix(), lines_, lists_);
    }

    void make_lists_of_columns(std::uint32_t *counters) const {
        if (m_.count > 0) check(cudaMemsetAsync(counters, 0, counters_bytes(), device_.stream), name);
        launch(device_, name, {.blocks = count_blocks(device_, m_.count, block_threads)}, count_columns, matrix(),
               chunks_.size, counters);
        launch(device_, name, {.blocks = count_blocks(device_, lines_, block_threads)}, sum_chunks, chunks_.count,
               lines_, counters, lists_.starts);
        launch(device_, name, {.blocks = 1}, sum_columns, lines_, lists_.starts);
        launch(device_, name, {.blocks = static_cast<unsigned>(chunks_.count), .threads = warp_threads}, list_columns,
               matrix(), chunks_.size, counters, lists_);
    }

    template <class Scalar>
    void multiply(Scalar *turned) const {
        const auto divide_up = [](std::uint64_t count, std::uint64_t by) { return (count + by - 1) / by; };
        const std::uint64_t tile_rows = warp_threads * groups_.lane_rows;
        const Target target = {m_.target, m_.target_type, m_.accumulate != 0, m_.scale, lines_};
        for (std::uint64_t first = 0; first < m_.rows; first += groups_.rows) {
            const TurnedGroup group = {first, std::min(groups_.rows, m_.rows - first), groups_.pitch, words_};
            const std::uint64_t tiles = divide_up(words_, turn_side) * divide_up(group.pitch, turn_side);
            launch(device_, name, {.blocks = static_cast<unsigned>(tiles)}, turn_rows<Scalar>,
                   static_cast<const Scalar *>(m_.a), group, turned);
            const std::uint64_t blocks = divide_up(lines_, tile_lines) * divide_up(group.rows, tile_rows);
            launch(device_, name, {.blocks = static_cast<unsigned>(blocks)},
                   groups_.lane_rows == 1 ? multiply_lists<Scalar, 1> : multiply_lists<Scalar, 16 / sizeof(Scalar)>,
                   turned, group, lists_, target);
        }
    }

    const speft_backend_device &device_;
    const speft_multiply_sparse &m_;
    const std::uint64_t words_, lines_;  // columns of the dense factor, columns of the target
    const EntryChunks chunks_;
    const RowGroups groups_;
    Lists lists_{};
};

}  // namespace

std::uint64_t multiply_sparse_scratch(const speft_backend_device &device, const speft_multiply_sparse &arguments) {
    const SparseProduct product(device, arguments);
    return product.is_empty() ? 0 : product.scratch_bytes();
}

void multiply_sparse(speft_backend_device &device, const speft_multiply_sparse &arguments, void *scratch) {
    SparseProduct product(device, arguments);
    if (!product.is_empty()) product.run(scratch);
}

}  // namespace speft::cuda
