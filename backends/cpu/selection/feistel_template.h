// RandomKernels::permute for vectors of any width. Each instruction set compiles this with options of its own, so
// everything here has internal linkage and calls nothing that is shared.
#pragma once

#include "backends/cpu/selection/random_kernels.h"

namespace speft::cpu {
namespace {

template <int lanes>
struct FeistelTemplate {
    static_assert(random_step % lanes == 0);
    typedef std::uint32_t Vector __attribute__((vector_size(lanes * sizeof(std::uint32_t))));

    static Vector mix(Vector z) {
        z = (z ^ (z >> 16)) * 0x7feb352du;
        z = (z ^ (z >> 15)) * 0x846ca68bu;
        return z ^ (z >> 16);
    }

    static void permute(const FeistelNetwork &network, std::uint32_t *values, std::uint64_t count) {
        for (std::uint64_t i = 0; i < count; i += random_step) {
            // Several chains side by side hide the latency of the multiplications.
            constexpr int chains = random_step / lanes;
            Vector left[chains], right[chains];
#pragma GCC unroll 4
            for (int chain = 0; chain < chains; ++chain) {
                Vector value;
                __builtin_memcpy(&value, values + i + chain * lanes, sizeof value);
                left[chain] = value >> network.right_bits;
                right[chain] = value & network.right_mask;
            }
#pragma GCC unroll 8
            for (unsigned round = 0; round < FeistelNetwork::rounds; round += 2)
#pragma GCC unroll 4
                for (int chain = 0; chain < chains; ++chain) {
                    left[chain] = (left[chain] + mix(right[chain] ^ network.keys[round])) & network.left_mask;
                    right[chain] = (right[chain] + mix(left[chain] ^ network.keys[round + 1])) & network.right_mask;
                }
#pragma GCC unroll 4
            for (int chain = 0; chain < chains; ++chain) {
                const Vector value = (left[chain] << network.right_bits) | right[chain];
                __builtin_memcpy(values + i + chain * lanes, &value, sizeof value);
            }
        }
    }
};

}  // namespace
}  // namespace speft::cpu
