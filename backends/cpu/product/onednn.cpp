#include "backends/cpu/product/onednn.h"

#include <algorithm>
#include <atomic>

#include "backends/cpu/parallel.h"
#include "backends/cpu/product/factors.h"
#include "backends/cpu/product/onednn_multiplication.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t longest_block = 1024;  // tokens: what oneDNN packs of a tile stays small
constexpr std::uint64_t cache_line = 64;

// The weight in tiles, which a worker multiplies whole in scratch of its own. What is seen in the last bits of the
// sums, the size of a tile, does not depend on threads.
class TiledProduct {
public:
    TiledProduct(const speft_backend_device &device, const speft_add_product &arguments)
        : library_(*OneDnn::get()),
          device_(device),
          arguments_(arguments),
          product_(arguments),
          tile_size_(arguments.in * arguments.out < (1 << 21) ? 256 : 512),
          row_tiles_(divide_up(product_.rows.width, tile_size_)),
          column_tiles_(divide_up(product_.columns.width, tile_size_)),
          workers_(std::min<std::uint64_t>(static_cast<std::uint64_t>(device.threads), row_tiles_ * column_tiles_)) {}

    std::uint64_t scratch_bytes() const { return workers_ * (tile_bytes() + scratchpad_bytes()); }

    void run(void *scratch) const {
        const std::uint64_t worker_bytes = scratch_bytes() / workers_;
        std::atomic<std::uint64_t> next{0};
        parallel_for(device_, static_cast<std::int64_t>(workers_), [&](std::int64_t worker) {
            const OneDnn::OnOneThread alone(library_);
            unsigned char *const memory =
                static_cast<unsigned char *>(scratch) + static_cast<std::uint64_t>(worker) * worker_bytes;
            for (std::uint64_t index; (index = next.fetch_add(1)) < row_tiles_ * column_tiles_;)
                add_tile(index / column_tiles_ * tile_size_, index % column_tiles_ * tile_size_,
                         reinterpret_cast<float *>(memory), memory + tile_bytes());
        });
    }

private:
    // rowsᵀ·columns over `tokens` tokens of two factors.
    Multiplication multiplication(std::uint64_t rows, std::uint64_t columns, std::uint64_t tokens) const {
        return {library_,
                {product_.rows.type, 1, product_.rows.width},
                {product_.columns.type, product_.columns.width, 1},
                rows,
                columns,
                tokens};
    }

    std::uint64_t tile_bytes() const { return tile_size_ * tile_size_ * sizeof(float); }

    std::uint64_t scratchpad_bytes() const {
        const OneDnn::OnOneThread alone(library_);
        std::uint64_t most = 0;
        for (const std::uint64_t rows : sizes_of_parts(product_.rows.width, tile_size_))
            for (const std::uint64_t columns : sizes_of_parts(product_.columns.width, tile_size_))
                for (const std::uint64_t tokens : sizes_of_parts(arguments_.tokens, longest_block))
                    most = std::max(most, multiplication(rows, columns, tokens).scratchpad_bytes());
        return round_up(most, cache_line);
    }

    void add_tile(std::uint64_t row, std::uint64_t column, float *tile, void *scratchpad) const {
        const std::uint64_t rows = std::min(tile_size_, product_.rows.width - row);
        const std::uint64_t columns = std::min(tile_size_, product_.columns.width - column);
        for (std::uint64_t token = 0; token < arguments_.tokens; token += longest_block) {
            const std::uint64_t tokens = std::min(longest_block, arguments_.tokens - token);
            multiplication(rows, columns, tokens)
                .run(product_.rows.window(token, tokens, row, rows).values,
                     product_.columns.window(token, tokens, column, columns).values, tile, scratchpad);
            for (std::uint64_t r = 0; r < rows; ++r) add_row(row + r, column, columns, tile + r * columns);
        }
    }

    void add_row(std::uint64_t row, std::uint64_t column, std::uint64_t columns, const float *products) const {
        const std::uint64_t first = row * product_.columns.width + column;
        if (!arguments_.indices) {
            for (std::uint64_t c = 0; c < columns; ++c) arguments_.sums[first + c] += arguments_.scale * products[c];
            return;
        }
        const std::uint32_t *const end = arguments_.indices + arguments_.count;
        for (auto index = std::lower_bound(arguments_.indices, end, first); index < end && *index < first + columns;
             ++index)
            arguments_.sums[index - arguments_.indices] += arguments_.scale * products[*index - first];
    }

    const OneDnn &library_;
    const speft_backend_device &device_;
    const speft_add_product &arguments_;
    const Product product_;
    const std::uint64_t tile_size_;
    const std::uint64_t row_tiles_, column_tiles_;
    const std::uint64_t workers_;
};

bool is_empty(const speft_add_product &arguments) { return arguments.count == 0 || arguments.tokens == 0; }

// A mask of fewer than one of `share` scalars.
bool is_sparser(const speft_add_product &arguments, std::uint64_t share) {
    return arguments.indices && arguments.count < arguments.in * arguments.out / share;
}

constexpr const char *too_sparse = "the mask is too sparse for dense tiles";

}  // namespace

const char *refuse_onednn(const speft_backend_device *, const void *arguments) {
    const auto &product = *static_cast<const speft_add_product *>(arguments);
    if (product.x_type != product.dy_type || product.x_type == SPEFT_SCALAR_FLOAT16)
        return "oneDNN multiplies float32 by float32 and bfloat16 by bfloat16 only";
    // Measured with AVX-512: by itself a selected scalar takes more than twice as long as in a dense tile.
    if (is_sparser(product, 2)) return too_sparse;
    return OneDnn::why_not();
}

const char *refuse_onednn_amx(const speft_backend_device *, const void *arguments) {
    const auto &product = *static_cast<const speft_add_product *>(arguments);
    if (!__builtin_cpu_supports("amx-bf16")) return "this CPU has no AMX";
    if (product.x_type != SPEFT_SCALAR_BFLOAT16 || product.dy_type != SPEFT_SCALAR_BFLOAT16)
        return "x and dy are not both bfloat16";
    // Not measured: AMX multiplies about eight times as fast as the instructions that a single scalar can use.
    if (is_sparser(product, 16)) return too_sparse;
    if (const char *reason = OneDnn::why_not()) return reason;
    return OneDnn::get()->has_amx() ? nullptr : "oneDNN may not use AMX here";
}

// Without an answer from oneDNN there is no memory that would suffice, and the call ends as out of memory.
std::uint64_t onednn_scratch(const speft_backend_device &device, const speft_add_product &arguments) {
    try {
        return is_empty(arguments) ? 0 : TiledProduct(device, arguments).scratch_bytes();
    } catch (...) {
        return UINT64_MAX;
    }
}

void add_product_onednn(const speft_backend_device &device, const speft_add_product &arguments, void *scratch) {
    if (!is_empty(arguments)) TiledProduct(device, arguments).run(scratch);
}

}  // namespace speft::cpu
