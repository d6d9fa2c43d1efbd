#include "backends/cpu/operations.h"
#include "backends/cpu/reference/tile_product.h"

namespace speft::cpu {

void multiply(const speft_backend_device &device, const speft_multiply &m) {
    multiply_tiles(device, frame_of(m), [&](Piece terms, Piece columns, Tile &tile) {
        visit_scalar(m.b_type, [&](auto scalar) {
            const auto *const b = static_cast<const decltype(scalar) *>(m.b);
            if (m.b_transposed)
                read_tile(b, m.inner, columns, terms, true, tile);
            else
                read_tile(b, m.columns, terms, columns, false, tile);
        });
    });
}

}  // namespace speft::cpu
