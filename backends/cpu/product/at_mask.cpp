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
constexpr std::uint64_t strips_ahead = 2;    // fetched before they are transposed

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

Ahead::Region region_of(const Window &window) {
    const std::uint64_t bytes = window.type == SPEFT_SCALAR_FLOAT32 ? 4 : 2;
    return {static_cast<const unsigned char *>(window.values), window.columns * bytes, window.stride * bytes,
            window.tokens};
}

// The index-th of `parts` equal parts.
Ahead::Region part_of(Ahead::Region region, std::uint64_t index, std::uint64_t parts) {
    const std::uint64_t begin = region.rows * index / parts, end = region.rows * (index + 1) / parts;
    region.row += begin * region.stride;
    region.rows = end - begin;
    return region;
}

// Spreads what is fetched over as many steps.
void set_pace(Ahead &ahead, std::uint64_t steps) {
    std::uint64_t lines = 0;
    for (const Ahead::Region &region : ahead.regions)
        lines += region.rows * divide_up(region.row_bytes, cache_line_words * sizeof(Word));
    ahead.lines_a_step = divide_up(lines, steps);
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
    const std::uint64_t least_tasks = threads == 1 ? 1 : threads * tasks_a_thread;
    ranges_ = std::min(strips_, divide_up(least_tasks, groups_ * tiles_));
    tasks_ = groups_ * tiles_ * ranges_;
    workers_ = std::min(threads, tasks_);
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
    const std::uint64_t group = index / (tiles_ * ranges_), range = index % ranges_;
    return {.group = group,
            .tile = index / ranges_ % tiles_,
            .first_slice = group * slices_ / groups_,
            .last_slice = (group + 1) * slices_ / groups_,
            .first_strip = range * strips_ / ranges_,
            .last_strip = (range + 1) * strips_ / ranges_};
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

Window ProductAtMask::columns_of(const Task &task, std::uint64_t slice) const {
    return slice_of(product_.columns, slice, task.tile * tile_columns_, tile_columns_);
}

// What the worker of a task will transpose after a slice of it, if workers go on taking turns; or nothing.
Window ProductAtMask::columns_after(std::uint64_t index, std::uint64_t slice) const {
    const Task now = task(index);
    if (slice + 1 < now.last_slice) return columns_of(now, slice + 1);
    if (index + workers_ >= tasks_) return {};
    const Task next = task(index + workers_);
    return columns_of(next, next.first_slice);
}

// As many strips of rows as there still are in the task.
Window ProductAtMask::rows_of(const Task &task, std::uint64_t slice, std::uint64_t first_strip,
                              std::uint64_t strips) const {
    if (first_strip >= task.last_strip) return {};
    return slice_of(product_.rows, slice, first_strip * strip_rows,
                    std::min(strips, task.last_strip - first_strip) * strip_rows);
}

// The first strips are fetched meanwhile.
void ProductAtMask::fill_column_panel(const Task &task, std::uint64_t slice, Word *panel) const {
    const Window columns = columns_of(task, slice);
    const std::uint64_t lanes = kernels_.word_multiple;
    Ahead ahead;
    ahead.regions[0] = region_of(rows_of(task, slice, task.first_strip, strips_ahead));
    set_pace(ahead, slice_words_ / lanes * divide_up(columns.columns, lanes));
    kernels_.fill_columns(columns, slice_words_, panel, panel_stride_, ahead);
}

// One slice of up to `strip_rows` rows at the columns of a tile.
void ProductAtMask::add_strip(const Task &task, const Scratch &scratch, std::uint64_t strip, std::uint64_t slice,
                              const Word *column_panel, Word *row_panel, Ahead &ahead) const {
    const std::uint64_t row = strip * strip_rows;
    const std::uint64_t rows = std::min(strip_rows, product_.rows.width - row);
    const std::uint64_t *const starts = scratch.starts + row * tiles_ + task.tile;
    float *const sums =
        task.group == 0 ? arguments_.sums : scratch.partials + (task.group - 1) * arguments_.count;
    std::uint64_t count = 0;
    for (std::uint64_t r = 0; r < rows; ++r) {
        const std::uint64_t begin = starts[r * tiles_], end = starts[r * tiles_ + 1];
        count += end - begin;
        if (task.group > 0 && slice == task.first_slice) std::fill(sums + begin, sums + end, 0.0f);
    }
    if (count == 0) return;
    const std::uint64_t lanes = kernels_.word_multiple;
    set_pace(ahead, slice_words_ / lanes * divide_up(rows, lanes) + count / 4);
    kernels_.fill_columns(rows_of(task, slice, strip, 1), slice_words_, row_panel, panel_stride_, ahead);
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
                          .sums = sums,
                          .ahead = &ahead});
}

// The strips share the fetching of the columns that come after them.
void ProductAtMask::run_task(std::uint64_t index, const Scratch &scratch, Word *panels) const {
    Word *const row_panel = panels + tile_columns_ * panel_stride_;
    const Task now = task(index);
    for (std::uint64_t slice = now.first_slice; slice < now.last_slice; ++slice) {
        fill_column_panel(now, slice, panels);
        const Ahead::Region next_columns = region_of(columns_after(index, slice));
        for (std::uint64_t strip = now.first_strip; strip < now.last_strip; ++strip) {
            Ahead ahead;
            ahead.regions[0] = region_of(rows_of(now, slice, strip + strips_ahead, 1));
            ahead.regions[1] =
                part_of(next_columns, strip - now.first_strip, now.last_strip - now.first_strip);
            add_strip(now, scratch, strip, slice, panels, row_panel, ahead);
        }
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
        for (std::uint64_t index; (index = next.fetch_add(1)) < tasks_;)
            run_task(index, scratch, scratch.panels + static_cast<std::uint64_t>(worker) * worker_words());
    });
    if (groups_ > 1) add_partials(scratch);
}

}  // namespace speft::cpu
