// A product of two matrices by oneDNN: the target in tiles, which a worker multiplies whole in scratch of its own.
#include <algorithm>
#include <atomic>

#include "backends/cpu/parallel.h"
#include "backends/cpu/product/factors.h"
#include "backends/cpu/product/onednn.h"
#include "backends/cpu/product/onednn_multiplication.h"
#include "backends/cpu/scalar_types.h"

namespace speft::cpu {
namespace {

constexpr std::uint64_t longest_block = 1024;  // terms: what oneDNN packs of a tile stays small
constexpr std::uint64_t cache_line = 64;

// What is seen in the last bits of the sums, the size of a tile, does not depend on threads.
class TiledTarget {
public:
    TiledTarget(const speft_backend_device &device, const speft_multiply &arguments)
        : library_(*OneDnn::get()),
          device_(device),
          m_(arguments),
          a_{m_.a, m_.a_type, m_.inner, m_.inner},
          b_{m_.b, m_.b_type, b_stride(), b_stride()},
          tile_size_(m_.rows * m_.columns < (1 << 21) ? 256 : 512),
          row_tiles_(divide_up(m_.rows, tile_size_)),
          column_tiles_(divide_up(m_.columns, tile_size_)),
          workers_(std::min<std::uint64_t>(static_cast<std::uint64_t>(device.threads), row_tiles_ * column_tiles_)) {}

    std::uint64_t scratch_bytes() const { return workers_ * (2 * tile_bytes() + scratchpad_bytes()); }

    void run(void *scratch) const {
        const std::uint64_t worker_bytes = scratch_bytes() / workers_;
        std::atomic<std::uint64_t> next{0};
        parallel_for(device_, static_cast<std::int64_t>(workers_), [&](std::int64_t worker) {
            const OneDnn::OnOneThread alone(library_);
            unsigned char *const memory =
                static_cast<unsigned char *>(scratch) + static_cast<std::uint64_t>(worker) * worker_bytes;
            for (std::uint64_t index; (index = next.fetch_add(1)) < row_tiles_ * column_tiles_;)
                multiply_tile(index / column_tiles_ * tile_size_, index % column_tiles_ * tile_size_, memory);
        });
    }

private:
    std::uint64_t b_stride() const { return m_.b_transposed ? m_.inner : m_.columns; }
    std::uint64_t tile_bytes() const { return tile_size_ * tile_size_ * sizeof(float); }

    Multiplication multiplication(std::uint64_t rows, std::uint64_t columns, std::uint64_t terms) const {
        const OneDnnMatrix b = m_.b_transposed ? OneDnnMatrix{m_.b_type, 1, m_.inner}
                                               : OneDnnMatrix{m_.b_type, m_.columns, 1};
        return {library_, {m_.a_type, m_.inner, 1}, b, rows, columns, terms};
    }

    std::uint64_t scratchpad_bytes() const {
        const OneDnn::OnOneThread alone(library_);
        std::uint64_t most = 0;
        for (const std::uint64_t rows : sizes_of_parts(m_.rows, tile_size_))
            for (const std::uint64_t columns : sizes_of_parts(m_.columns, tile_size_))
                for (const std::uint64_t terms : sizes_of_parts(m_.inner, longest_block))
                    most = std::max(most, multiplication(rows, columns, terms).scratchpad_bytes());
        return round_up(most, cache_line);
    }

    // `memory`: the sums, the products of one block of terms, and oneDNN's own.
    void multiply_tile(std::uint64_t row, std::uint64_t column, unsigned char *memory) const {
        const std::uint64_t rows = std::min(tile_size_, m_.rows - row);
        const std::uint64_t columns = std::min(tile_size_, m_.columns - column);
        float *const sums = reinterpret_cast<float *>(memory);
        float *const products = reinterpret_cast<float *>(memory + tile_bytes());
        for (std::uint64_t begin = 0; begin < m_.inner; begin += longest_block) {
            const std::uint64_t terms = std::min(longest_block, m_.inner - begin);
            const Window left = a_.window(row, rows, begin, terms);
            const Window right = m_.b_transposed ? b_.window(column, columns, begin, terms)
                                                 : b_.window(begin, terms, column, columns);
            multiplication(rows, columns, terms)
                .run(left.values, right.values, begin == 0 ? sums : products, memory + 2 * tile_bytes());
            if (begin != 0)
                for (std::uint64_t i = 0; i < rows * columns; ++i) sums[i] += products[i];
        }
        visit_scalar(m_.target_type, [&](auto scalar) {
            using Target = decltype(scalar);
            for (std::uint64_t r = 0; r < rows; ++r) {
                Target *const target = static_cast<Target *>(m_.target) + (row + r) * m_.columns + column;
                for (std::uint64_t c = 0; c < columns; ++c) {
                    const float base = m_.accumulate ? to_float(target[c]) : 0.0f;
                    target[c] = from_float<Target>(base + m_.scale * sums[r * columns + c]);
                }
            }
        });
    }

    const OneDnn &library_;
    const speft_backend_device &device_;
    const speft_multiply &m_;
    const Factor a_, b_;
    const std::uint64_t tile_size_;
    const std::uint64_t row_tiles_, column_tiles_;
    const std::uint64_t workers_;
};

bool has_nothing(const speft_multiply &arguments) {
    return arguments.rows == 0 || arguments.columns == 0 || arguments.inner == 0;
}

}  // namespace

const char *refuse_multiply_onednn(const speft_backend_device *, const void *arguments) {
    const auto &product = *static_cast<const speft_multiply *>(arguments);
    if (product.a_type != product.b_type || product.a_type == SPEFT_SCALAR_FLOAT16)
        return "oneDNN multiplies float32 by float32 and bfloat16 by bfloat16 only";
    if (has_nothing(product)) return "oneDNN describes no product of nothing";
    return OneDnn::why_not();
}

const char *refuse_multiply_onednn_amx(const speft_backend_device *device, const void *arguments) {
    if (!__builtin_cpu_supports("amx-bf16")) return "this CPU has no AMX";
    if (static_cast<const speft_multiply *>(arguments)->a_type != SPEFT_SCALAR_BFLOAT16)
        return "the factors are not both bfloat16";
    if (const char *reason = refuse_multiply_onednn(device, arguments)) return reason;
    return OneDnn::get()->has_amx() ? nullptr : "oneDNN may not use AMX here";
}

// Without an answer from oneDNN there is no memory that would suffice, and the call ends as out of memory.
std::uint64_t multiply_onednn_scratch(const speft_backend_device &device, const speft_multiply &arguments) {
    try {
        return TiledTarget(device, arguments).scratch_bytes();
    } catch (...) {
        return UINT64_MAX;
    }
}

void multiply_onednn(const speft_backend_device &device, const speft_multiply &arguments, void *scratch) {
    TiledTarget(device, arguments).run(scratch);
}

}  // namespace speft::cpu
