#include "backends/cpu/product/at_mask.h"

#include <algorithm>
#include <atomic>
#include <iterator>

#include "backends/cpu/parallel.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t cache_line_words = 16;
constexpr std::uint64_t strip_rows = 64;
constexpr std::uint64_t tile_bytes = 768 * 1024;  // most of a second-level cache of 1 MiB
constexpr std::uint64_t slice_lengths[] = {32, 64, 128, 256};  // words
constexpr std::uint64_t most_partials = 1 << 20;
constexpr std::uint64_t tasks_a_thread = 3;  // so that threads end at about the same time

// Words from a column of a panel to the next: an odd number of cache lines, lest columns share a few sets of a cache.
std::uint64_t stride_of(std::uint64_t slice_words) {
    return round_up(slice_words, 2 * cache_line_words) + cache_line_words;
}

std::uint64_t count_tiles(std::uint64_t columns, std::uint64_t slice_words) {
    return divide_up(columns * stride_of(slice_words) * sizeof(Word), tile_bytes);
}

// Long slices take more tiles, each of which transposes all rows again; short ones end more dot products. The end of
// one costs as much as transposing 13 words (measured).
std::uint64_t choose_slice(const Product &product, std::uint64_t count, std::uint64_t words) {
    constexpr double words_an_end = 13;
    const auto cost = [&](std::uint64_t slice_words) {
        return static_cast<double>(count_tiles(product.columns.width, slice_words) * product.rows.width) +
               words_an_end * static_cast<double>(count) / static_cast<double>(slice_words);
    };
    const std::uint64_t slice_words = *std::min_element(
        std::begin(slice_lengths), std::end(slice_lengths),
        [&](std::uint64_t left, std::uint64_t right) { return cost(left) < cost(right); });
    return divide_up(words, divide_up(words, slice_words));  // as equal as they can be
}

}  // namespace

ProductAtMask::ProductAtMask(const speft_backend_device &device, const speft_add_product &arguments,
                             const ProductKernels &kernels)
    : device_(device), arguments_(arguments), kernels_(kernels), product_(arguments) {
    const std::uint64_t words = divide_up(arguments.tokens, kernels.tokens_a_word);
    slice_words_ = round_up(choose_slice(product_, arguments.count, words), kernels.word_multiple);
    slices_ = divide_up(words, slice_words_);
    panel_stride_ = stride_of(slice_words_);
    const std::uint64_t width = product_.columns.width;
    tile_columns_ = round_up(divide_up(width, count_tiles(width, slice_words_)), max_lanes);
    tiles_ = divide_up(width, tile_columns_);
    strips_ = divide_up(product_.rows.width, strip_rows);
    // How tokens are grouped shows in the last bits of the sums, so only the ranges of rows may depend on threads.
    groups_ = std::clamp<std::uint64_t>(most_partials / arguments.count, 1, slices_);
    const std::uint64_t threads = static_cast<std::uint64_t>(device.threads);
    const std::uint64_t tasks = threads == 1 ? 1 : threads * tasks_a_thread;
    ranges_ = std::min(strips_, divide_up(tasks, groups_ * tiles_));
    workers_ = std::min(threads, groups_ * tiles_ * ranges_);
}

ProductAtMask::Scratch ProductAtMask::divide(void *scratch) const {
    auto *starts = static_cast<std::uint64_t *>(scratch);
    auto *partials = reinterpret_cast<float *>(starts + starts_size());
    return {starts, partials, reinterpret_cast<Word *>(partials + partials_size())};
}

std::uint64_t ProductAtMask::scratch_bytes() const {
    return starts_size() * sizeof(std::uint64_t) + partials_size() * sizeof(float) +
           workers_ * worker_words() * sizeof(Word);
}

// Each part of the scratch fills whole cache lines.
std::uint64_t ProductAtMask::starts_size() const {
    return round_up(product_.rows.width * tiles_ + 1, cache_line_words / 2);
}

std::uint64_t ProductAtMask::partials_size() const {
    return round_up((groups_ - 1) * arguments_.count, cache_line_words);
}

std::uint64_t ProductAtMask::worker_words() const { return (tile_columns_ + strip_rows) * panel_stride_; }

ProductAtMask::Task ProductAtMask::task(std::uint64_t index) const {
    return {index / (tiles_ * ranges_), index / ranges_ % tiles_, index % ranges_};
}

void ProductAtMask::find_starts(const Scratch &scratch) const {
    constexpr std::uint64_t piece_rows = 1024;
    const std::uint32_t *const indices = arguments_.indices;
    const std::uint32_t *const end = indices + arguments_.count;
    const std::uint64_t width = product_.columns.width;
    for_each_piece(device_, Pieces(piece_rows, product_.rows.width), [&](Piece rows, std::int64_t) {
        const std::uint32_t *next = std::lower_bound(indices, end, rows.begin * width);
        for (std::uint64_t row = rows.begin; row < rows.end; ++row)
            for (std::uint64_t tile = 0; tile < tiles_; ++tile) {
                const std::uint64_t first = row * width + tile * tile_columns_;
                while (end - next >= 8 && next[7] < first) next += 8;
                while (next < end && *next < first) ++next;
                scratch.starts[row * tiles_ + tile] = next - indices;
            }
    });
    scratch.starts[product_.rows.width * tiles_] = arguments_.count;
}

Window ProductAtMask::slice_of(const Factor &factor, std::uint64_t slice, std::uint64_t column,
                               std::uint64_t columns) const {
    const std::uint64_t slice_tokens = slice_words_ * kernels_.tokens_a_word;
    const std::uint64_t token = slice * slice_tokens;
    return factor.window(token, std::min(slice_tokens, arguments_.tokens - token), column,
                         std::min(columns, factor.width - column));
}

// One slice of up to `strip_rows` rows at the columns of a tile.
void ProductAtMask::add_strip(const Task &task, const Scratch &scratch, std::uint64_t row, std::uint64_t slice,
                              const Word *column_panel, Word *row_panel) const {
    const std::uint64_t rows = std::min(strip_rows, product_.rows.width - row);
    const std::uint64_t *const starts = scratch.starts + row * tiles_ + task.tile;
    float *const sums =
        task.group == 0 ? arguments_.sums : scratch.partials + (task.group - 1) * arguments_.count;
    bool empty = true;
    for (std::uint64_t r = 0; r < rows; ++r) {
        const std::uint64_t begin = starts[r * tiles_], end = starts[r * tiles_ + 1];
        empty = empty && begin == end;
        if (task.group > 0 && slice == task.group * slices_ / groups_) std::fill(sums + begin, sums + end, 0.0f);
    }
    if (empty) return;
    kernels_.fill_columns(slice_of(product_.rows, slice, row, strip_rows), slice_words_, row_panel, panel_stride_);
    const std::uint64_t origin = row * product_.columns.width + task.tile * tile_columns_;
    kernels_.add_sampled({.rows = row_panel,
                          .columns = column_panel,
                          .panel_stride = panel_stride_,
                          .words = slice_words_,
                          .row_count = rows,
                          .starts = starts,
                          .starts_stride = tiles_,
                          .indices = arguments_.indices,
                          .origin = static_cast<std::uint32_t>(origin),
                          .width = static_cast<std::uint32_t>(product_.columns.width),
                          .scale = arguments_.scale,
                          .sums = sums});
}

void ProductAtMask::run_task(const Task &task, const Scratch &scratch, Word *panels) const {
    Word *const row_panel = panels + tile_columns_ * panel_stride_;
    const std::uint64_t first_strip = task.range * strips_ / ranges_;
    const std::uint64_t last_strip = (task.range + 1) * strips_ / ranges_;
    const std::uint64_t last_slice = (task.group + 1) * slices_ / groups_;
    for (std::uint64_t slice = task.group * slices_ / groups_; slice < last_slice; ++slice) {
        kernels_.fill_columns(slice_of(product_.columns, slice, task.tile * tile_columns_, tile_columns_),
                              slice_words_, panels, panel_stride_);
        for (std::uint64_t strip = first_strip; strip < last_strip; ++strip)
            add_strip(task, scratch, strip * strip_rows, slice, panels, row_panel);
    }
}

void ProductAtMask::add_partials(const Scratch &scratch) const {
    constexpr std::uint64_t piece_size = 16384;
    for_each_piece(device_, Pieces(piece_size, arguments_.count), [&](Piece piece, std::int64_t) {
        for (std::uint64_t group = 1; group < groups_; ++group) {
            const float *const partials = scratch.partials + (group - 1) * arguments_.count;
            for (std::uint64_t j = piece.begin; j < piece.end; ++j) arguments_.sums[j] += partials[j];
        }
    });
}

void ProductAtMask::run(void *memory) const {
    const Scratch scratch = divide(memory);
    find_starts(scratch);
    std::atomic<std::uint64_t> next{0};
    parallel_for(device_, static_cast<std::int64_t>(workers_), [&](std::int64_t worker) {
        for (std::uint64_t index; (index = next.fetch_add(1)) < groups_ * tiles_ * ranges_;)
            run_task(task(index), scratch, scratch.panels + static_cast<std::uint64_t>(worker) * worker_words());
    });
    if (groups_ > 1) add_partials(scratch);
}

}  // namespace speft::cpu
