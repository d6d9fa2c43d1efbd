// A product with a sparse matrix. Rows of the dense factor are transposed into strips, in which an entry of the sparse
// one multiplies a run of rows; each column of the target is summed in registers, from a list of the entries that
// reach it. Where those are not in turn already, they are put so by counting: adding each to a column in memory
// instead, with no lists, would load and store what the registers keep.
//
// Scratch: the lists, counters to make them by, and a strip for each thread.
#include "backends/cpu/operations.h"
#include "backends/cpu/parallel.h"
#include "backends/cpu/product/factors.h"
#include "backends/cpu/reference/matrix_walk.h"
#include "backends/cpu/scalar_types.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t line_block = 64;    // columns of the target that are transposed at a time
constexpr std::uint64_t fill_words = 256;   // of a strip, a task
constexpr std::uint64_t strip_tasks = 8;    // parts of the target's columns, each of which reads a whole strip
constexpr std::uint64_t most_chunks = 16;   // of the entries, that are counted side by side
constexpr std::uint64_t chunk_size = 8192;  // entries, at least
constexpr std::uint64_t alignment = 64;

class SparseProduct {
public:
    SparseProduct(const speft_backend_device &device, const speft_multiply_sparse &arguments,
                  const ProductKernels &kernels)
        : device_(device),
          m_(arguments),
          kernels_(kernels),
          words_(m_.transposed ? m_.sparse_columns : m_.sparse_rows),
          lines_(m_.transposed ? m_.sparse_rows : m_.sparse_columns),
          chunks_(std::max(chunk_size, divide_up(m_.count, most_chunks)), m_.count),
          strips_(std::min(static_cast<std::uint64_t>(device.threads), divide_up(m_.rows, kernels.wide_columns))) {}

    bool is_empty() const { return m_.rows == 0 || lines_ == 0; }

    std::uint64_t scratch_bytes() const {
        if (is_empty()) return 0;
        return strips_bytes() + entries_bytes() + starts_bytes() + counts_bytes();
    }

    void run(void *scratch) {
        unsigned char *const memory = static_cast<unsigned char *>(scratch);
        strip_ = reinterpret_cast<Word *>(memory);
        entries_ = reinterpret_cast<SparseEntry *>(memory + strips_bytes());
        starts_ = reinterpret_cast<std::uint64_t *>(memory + strips_bytes() + entries_bytes());
        counts_ = reinterpret_cast<std::uint64_t *>(memory + strips_bytes() + entries_bytes() + starts_bytes());
        visit_scalar(m_.values_type, [&](auto scalar) {
            const auto *const values = static_cast<const decltype(scalar) *>(m_.values);
            m_.transposed ? list_rows(values) : list_columns(values);
        });
        const Pieces groups(strips_ * kernels_.wide_columns, m_.rows);
        for (std::int64_t group = 0; group < groups.count(); ++group) {
            const Pieces strips(kernels_.wide_columns, groups[group].end - groups[group].begin);
            fill_strips(groups[group].begin, strips);
            visit_scalar(m_.target_type, [&](auto scalar) {
                multiply_strips(static_cast<decltype(scalar) *>(m_.target), groups[group].begin, strips);
            });
        }
    }

private:
    std::uint64_t strip_words() const { return words_ * kernels_.wide_columns; }
    std::uint64_t strips_bytes() const { return round_up(strips_ * strip_words() * sizeof(Word), alignment); }
    std::uint64_t entries_bytes() const { return round_up(m_.count * sizeof(SparseEntry), alignment); }
    std::uint64_t starts_bytes() const { return round_up((lines_ + 1) * sizeof *starts_, alignment); }
    std::uint64_t counts_bytes() const {
        return m_.transposed ? 0 : static_cast<std::uint64_t>(chunks_.count()) * lines_ * sizeof *counts_;
    }

    // Rows of the sparse matrix are columns of the target: its entries are in turn.
    template <class Value>
    void list_rows(const Value *values) {
        for_each_piece(device_, Pieces(line_block, lines_), [&](Piece rows, std::int64_t) {
            const std::uint32_t *const end = m_.indices + m_.count;
            auto j = static_cast<std::uint64_t>(std::lower_bound(m_.indices, end, rows.begin * words_) - m_.indices);
            for (std::uint64_t row = rows.begin; row < rows.end; ++row) {
                starts_[row] = j;
                for (; j < m_.count && m_.indices[j] < (row + 1) * words_; ++j)
                    entries_[j] = {static_cast<std::uint32_t>(m_.indices[j] - row * words_), to_float(values[j])};
            }
        });
        starts_[lines_] = m_.count;
    }

    // counts_[chunk][line]: first how many entries, then where in the list the next one goes.
    template <class Value>
    void list_columns(const Value *values) {
        for_each_piece(device_, chunks_, [&](Piece chunk, std::int64_t index) {
            std::uint64_t *const counts = counts_ + static_cast<std::uint64_t>(index) * lines_;
            std::fill_n(counts, lines_, 0);
            MatrixWalk walk(lines_);
            for (std::uint64_t j = chunk.begin; j < chunk.end; ++j) {
                walk.go_to(m_.indices[j]);
                ++counts[walk.column()];
            }
        });
        std::uint64_t next = 0;
        for (std::uint64_t line = 0; line < lines_; ++line) {
            starts_[line] = next;
            for (std::int64_t chunk = 0; chunk < chunks_.count(); ++chunk) {
                std::uint64_t &count = counts_[static_cast<std::uint64_t>(chunk) * lines_ + line];
                next += std::exchange(count, next);
            }
        }
        starts_[lines_] = next;
        for_each_piece(device_, chunks_, [&](Piece chunk, std::int64_t index) {
            std::uint64_t *const places = counts_ + static_cast<std::uint64_t>(index) * lines_;
            MatrixWalk walk(lines_);
            for (std::uint64_t j = chunk.begin; j < chunk.end; ++j) {
                walk.go_to(m_.indices[j]);
                entries_[places[walk.column()]++] = {static_cast<std::uint32_t>(walk.row()), to_float(values[j])};
            }
        });
    }

    void fill_strips(std::uint64_t first_row, const Pieces &strips) const {
        const Factor a{m_.a, m_.a_type, words_, words_};
        const Pieces parts(fill_words, words_);
        parallel_for(device_, strips.count() * parts.count(), [&](std::int64_t task) {
            const std::int64_t index = task / parts.count();
            const Piece rows = strips[index], part = parts[task % parts.count()];
            const std::uint64_t count = rows.end - rows.begin;
            kernels_.fill_strip_of_lines(
                a.window(first_row + rows.begin, part.end - part.begin, part.begin, count), kernels_.wide_columns,
                strip_ + static_cast<std::uint64_t>(index) * strip_words() + part.begin * kernels_.wide_columns);
        });
    }

    template <class Target>
    void multiply_strips(Target *target, std::uint64_t first_row, const Pieces &strips) const {
        const Pieces parts(round_up(divide_up(lines_, strip_tasks), line_block), lines_);
        parallel_for(device_, strips.count() * parts.count(), [&](std::int64_t task) {
            const std::int64_t index = task / parts.count();
            const Piece rows = strips[index], part = parts[task % parts.count()];
            const Word *const strip = strip_ + static_cast<std::uint64_t>(index) * strip_words();
            for (std::uint64_t line = part.begin; line < part.end; line += line_block)
                multiply_lines(strip, line, std::min(line + line_block, part.end), rows.end - rows.begin,
                               target + (first_row + rows.begin) * lines_);
        });
    }

    // Some columns of some rows of the target.
    template <class Target>
    void multiply_lines(const Word *strip, std::uint64_t begin, std::uint64_t end, std::uint64_t rows,
                        Target *target) const {
        alignas(alignment) float lines[line_block * max_wide];
        alignas(alignment) float turned[max_wide * line_block];
        for (std::uint64_t line = begin; line < end; ++line) {
            // A row of the target, which comes later, for each of its columns: spread over the work.
            if (line - begin < rows)
                for (std::uint64_t c = begin; c < end; c += alignment / sizeof(Target))
                    __builtin_prefetch(target + (line - begin) * lines_ + c, 1, 2);
            kernels_.sum_entries(strip, entries_ + starts_[line], entries_ + starts_[line + 1],
                                 lines + (line - begin) * kernels_.wide_columns);
        }
        kernels_.fill_strip_of_lines({lines, SPEFT_SCALAR_FLOAT32, kernels_.wide_columns, rows, end - begin},
                                     line_block, reinterpret_cast<Word *>(turned));
        for (std::uint64_t row = 0; row < rows; ++row) {
            const float *const sums = turned + row * line_block;
            Target *const places = target + row * lines_ + begin;
            if (m_.accumulate)
                for (std::uint64_t c = 0; c < end - begin; ++c)
                    places[c] = from_float<Target>(to_float(places[c]) + m_.scale * sums[c]);
            else
                for (std::uint64_t c = 0; c < end - begin; ++c)
                    places[c] = from_float<Target>(0.0f + m_.scale * sums[c]);
        }
    }

    const speft_backend_device &device_;
    const speft_multiply_sparse &m_;
    const ProductKernels &kernels_;
    const std::uint64_t words_, lines_;  // columns of the dense factor, columns of the target
    const Pieces chunks_;                // of the entries
    const std::uint64_t strips_;
    Word *strip_ = nullptr;             // [strips][words][wide_columns]
    SparseEntry *entries_ = nullptr;    // [count], line by line
    std::uint64_t *starts_ = nullptr;   // [lines + 1]
    std::uint64_t *counts_ = nullptr;   // [chunks][lines]
};

}  // namespace

std::uint64_t multiply_sparse_packed_scratch(const speft_backend_device &device,
                                             const speft_multiply_sparse &arguments, const ProductKernels &kernels) {
    return SparseProduct(device, arguments, kernels).scratch_bytes();
}

void multiply_sparse_packed(const speft_backend_device &device, const speft_multiply_sparse &arguments,
                            const ProductKernels &kernels, void *scratch) {
    SparseProduct product(device, arguments, kernels);
    if (!product.is_empty()) product.run(scratch);
}

}  // namespace speft::cpu
