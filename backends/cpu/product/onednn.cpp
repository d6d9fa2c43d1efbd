#include "backends/cpu/product/onednn.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "backends/cpu/parallel.h"
#include "backends/cpu/product/factors.h"
#include "backends/cpu/product/onednn_library.h"
#include "core/base/status.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t longest_block = 1024;  // tokens: what oneDNN packs of a tile stays small
constexpr std::uint64_t cache_line = 64;

void check(dnnl_status_t status, const char *what) {
    if (status == dnnl_out_of_memory) throw std::bad_alloc();
    if (status != dnnl_success)
        throw Failure(SPEFT_INTERNAL, std::string("oneDNN cannot ") + what + ": its status is " +
                                          std::to_string(static_cast<int>(status)));
}

template <class Object>
using Owned = std::unique_ptr<Object, dnnl_status_t (*)(Object *)>;

Owned<dnnl_memory_desc> describe(const OneDnn &library, dnnl_data_type_t type, std::uint64_t rows,
                                 std::uint64_t columns, std::uint64_t row_stride, std::uint64_t column_stride) {
    const dnnl_dims_t sizes = {static_cast<dnnl_dim_t>(rows), static_cast<dnnl_dim_t>(columns)};
    const dnnl_dims_t strides = {static_cast<dnnl_dim_t>(row_stride), static_cast<dnnl_dim_t>(column_stride)};
    dnnl_memory_desc_t description = nullptr;
    check(library.memory_desc_create_with_strides(&description, 2, sizes, type, strides), "describe a matrix");
    return {description, library.memory_desc_destroy};
}

Owned<dnnl_memory> view(const OneDnn &library, const_dnnl_memory_desc_t description, const void *values) {
    dnnl_memory_t memory = nullptr;
    check(library.memory_create(&memory, description, library.engine(), const_cast<void *>(values)),
          "view a matrix");
    return {memory, library.memory_destroy};
}

// tile[rows][columns] = rowsᵀ·columns over `tokens` tokens of two factors.
class Multiplication {
public:
    Multiplication(const OneDnn &library, const Product &product, std::uint64_t rows, std::uint64_t columns,
                   std::uint64_t tokens)
        : library_(library),
          left_(describe(library, type_of(product.rows), rows, tokens, 1, product.rows.width)),
          right_(describe(library, type_of(product.columns), tokens, columns, product.columns.width, 1)),
          tile_(describe(library, dnnl_f32, rows, columns, columns, 1)),
          description_(describe_product()) {}

    std::uint64_t scratchpad_bytes() const { return library_.memory_desc_get_size(scratchpad()); }

    void run(const void *left, const void *right, float *tile, void *scratchpad_memory) const {
        dnnl_primitive_t created = nullptr;
        check(library_.primitive_create(&created, description_.get()), "make a product");
        const Owned<dnnl_primitive> primitive(created, library_.primitive_destroy);
        dnnl_stream_t begun = nullptr;
        check(library_.stream_create(&begun, library_.engine(), dnnl_stream_default_flags), "begin a stream");
        const Owned<dnnl_stream> stream(begun, library_.stream_destroy);
        const auto left_view = view(library_, left_.get(), left), right_view = view(library_, right_.get(), right);
        const auto tile_view = view(library_, tile_.get(), tile);
        const auto scratchpad_view = view(library_, scratchpad(), scratchpad_memory);
        const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, left_view.get()},
                                             {DNNL_ARG_WEIGHTS, right_view.get()},
                                             {DNNL_ARG_DST, tile_view.get()},
                                             {DNNL_ARG_SCRATCHPAD, scratchpad_view.get()}};
        check(library_.primitive_execute(primitive.get(), stream.get(), std::size(arguments), arguments), "multiply");
        check(library_.stream_wait(stream.get()), "end a product");
    }

private:
    static dnnl_data_type_t type_of(const Factor &factor) {
        return factor.type == SPEFT_SCALAR_FLOAT32 ? dnnl_f32 : dnnl_bf16;
    }

    const_dnnl_memory_desc_t scratchpad() const {
        return library_.primitive_desc_query_md(description_.get(), dnnl_query_scratchpad_md, 0);
    }

    // Strict, whatever the environment asks of oneDNN: float32 is not to be rounded to less.
    Owned<dnnl_primitive_desc> describe_product() const {
        dnnl_primitive_attr_t created = nullptr;
        check(library_.primitive_attr_create(&created), "make attributes");
        const Owned<dnnl_primitive_attr> attributes(created, library_.primitive_attr_destroy);
        check(library_.primitive_attr_set_scratchpad_mode(created, dnnl_scratchpad_mode_user), "take scratch memory");
        check(library_.primitive_attr_set_fpmath_mode(created, dnnl_fpmath_mode_strict), "be strict");
        dnnl_primitive_desc_t description = nullptr;
        check(library_.matmul_primitive_desc_create(&description, library_.engine(), left_.get(), right_.get(),
                                                    nullptr, tile_.get(), created),
              "describe a product");
        return {description, library_.primitive_desc_destroy};
    }

    const OneDnn &library_;
    const Owned<dnnl_memory_desc> left_, right_, tile_;
    const Owned<dnnl_primitive_desc> description_;
};

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
    // The sizes that tiles or blocks have: whole, and what is left at the end.
    static std::vector<std::uint64_t> sizes(std::uint64_t length, std::uint64_t whole) {
        std::vector<std::uint64_t> sizes;
        if (length >= whole) sizes.push_back(whole);
        if (length % whole) sizes.push_back(length % whole);
        return sizes;
    }

    std::uint64_t tile_bytes() const { return tile_size_ * tile_size_ * sizeof(float); }

    std::uint64_t scratchpad_bytes() const {
        const OneDnn::OnOneThread alone(library_);
        std::uint64_t most = 0;
        for (const std::uint64_t rows : sizes(product_.rows.width, tile_size_))
            for (const std::uint64_t columns : sizes(product_.columns.width, tile_size_))
                for (const std::uint64_t tokens : sizes(arguments_.tokens, longest_block))
                    most = std::max(most,
                                    Multiplication(library_, product_, rows, columns, tokens).scratchpad_bytes());
        return round_up(most, cache_line);
    }

    void add_tile(std::uint64_t row, std::uint64_t column, float *tile, void *scratchpad) const {
        const std::uint64_t rows = std::min(tile_size_, product_.rows.width - row);
        const std::uint64_t columns = std::min(tile_size_, product_.columns.width - column);
        for (std::uint64_t token = 0; token < arguments_.tokens; token += longest_block) {
            const std::uint64_t tokens = std::min(longest_block, arguments_.tokens - token);
            Multiplication(library_, product_, rows, columns, tokens)
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
