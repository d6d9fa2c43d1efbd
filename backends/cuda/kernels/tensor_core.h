// The tensor cores' product of bfloat16, as a warp computes it: the one place with instructions of the GPU's own.
//
// A product is 16 rows by 8 columns over 16 tokens. Lane l holds, with g = l / 4 and p = 2·(l % 4), pairs of
// neighbours in a 32-bit register, the first in the lower half:
//   a: tokens p, p+1 of rows g and g+8, then tokens p+8, p+9 of the same rows;
//   b: tokens p, p+1 of column g, then tokens p+8, p+9;
//   sums: columns p and p+1 of row g, then of row g+8.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

#include "backends/cuda/kernels/block.h"

namespace speft::cuda {

// sums += a·b, in float32. All lanes call.
__device__ inline void mma_m16n8k16(float (&sums)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
#ifdef SPEFT_CUDA_EMULATED
    emulation::mma_m16n8k16_bf16(sums, a, b);
#else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// Four matrices of 8 tokens by 8 columns from shared memory, each turned: fragment i of lane l holds tokens 2·(l % 4)
// and the next of column l / 4. `row` is the lane's own: token l % 8 of matrix l / 8, 8 columns aligned to 16 bytes.
__device__ inline void load_turned(std::uint32_t (&fragments)[4], const std::uint16_t *row) {
#ifdef SPEFT_CUDA_EMULATED
    const unsigned long long own = reinterpret_cast<std::uintptr_t>(row);
    for (unsigned matrix = 0; matrix < 4; ++matrix) {
        std::uint32_t pair[2];
        for (unsigned i = 0; i < 2; ++i) {
            const std::uintptr_t other = __shfl_sync(full_warp, own, matrix * 8 + 2 * (lane() % 4) + i);
            std::uint16_t value;
            std::memcpy(&value, reinterpret_cast<const std::uint16_t *>(other) + lane() / 4, sizeof value);
            pair[i] = value;
        }
        fragments[matrix] = pair[0] | pair[1] << 16;
    }
#else
    const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragments[0]), "=r"(fragments[1]), "=r"(fragments[2]), "=r"(fragments[3])
                 : "r"(address)
                 : "memory");
#endif
}

}  // namespace speft::cuda
