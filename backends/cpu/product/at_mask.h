// A product at a mask: one dot product over tokens for each selected scalar.
//
// Tokens come in slices. A task takes a tile of the weight's columns and transposes a slice of it into a panel that
// stays in the second-level cache, then a strip of rows at a time into the first-level one, and visits the selected
// scalars row by row: a row's tokens are near while its columns are visited. So no panel is shared, and one parallel
// loop does everything but finding the scalars of each tile before and, where tokens were divided among tasks, adding
// their partial sums after.
//
// In a sparse product of float32 the factors take as long to come from memory as everything else takes, so the next
// strips and the next panel are fetched meanwhile.
//
// Scratch: a panel and a strip for each worker, 8 bytes for each row of each tile, and at most 4 MiB of partial sums.
#pragma once

#include <cstdint>

#include "backends/cpu/device.h"
#include "backends/cpu/product/factors.h"
#include "backends/cpu/product/kernels.h"

namespace speft::cpu {

class ProductAtMask {
public:
    ProductAtMask(const speft_backend_device &device, const speft_add_product &arguments,
                  const ProductKernels &kernels);

    std::uint64_t scratch_bytes() const;
    void run(void *scratch) const;

private:
    // What a task does: tokens × columns × rows.
    struct Task {
        std::uint64_t group, tile;
        std::uint64_t first_slice, last_slice;  // and past the last
        std::uint64_t first_strip, last_strip;
    };
    struct Scratch {
        std::uint64_t *starts;  // of the selected scalars by row, then tile; and past the last
        float *partials;        // [groups − 1][count]
        Word *panels;           // of each worker
    };

    std::uint64_t starts_size() const;
    std::uint64_t partials_size() const;
    std::uint64_t worker_words() const;

    Task task(std::uint64_t index) const;
    Scratch divide(void *scratch) const;
    void find_starts(const Scratch &scratch) const;
    void run_task(std::uint64_t index, const Scratch &scratch, Word *panels) const;
    void fill_column_panel(const Task &task, std::uint64_t slice, Word *panel) const;
    void add_strip(const Task &task, const Scratch &scratch, std::uint64_t strip, std::uint64_t slice,
                   const Word *column_panel, Word *row_panel, Ahead &ahead) const;
    void add_partials(const Scratch &scratch) const;
    Window slice_of(const Factor &factor, std::uint64_t slice, std::uint64_t column, std::uint64_t columns) const;
    Window columns_of(const Task &task, std::uint64_t slice) const;
    Window columns_after(std::uint64_t index, std::uint64_t slice) const;
    Window rows_of(const Task &task, std::uint64_t slice, std::uint64_t first_strip, std::uint64_t strips) const;

    const speft_backend_device &device_;
    const speft_add_product &arguments_;
    const ProductKernels &kernels_;
    const Product product_;

    std::uint64_t slice_words_;
    std::uint64_t panel_stride_;
    std::uint64_t tile_columns_;
    std::uint64_t slices_, groups_;  // groups of slices whose sums are kept apart
    std::uint64_t tiles_;
    std::uint64_t strips_, ranges_;  // ranges of strips
    std::uint64_t tasks_;
    std::uint64_t workers_;
};

}  // namespace speft::cpu
