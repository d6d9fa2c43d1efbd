// The types of 16 bits, as kernels see them: with internal linkage, for the reason that kernel_template.h gives.
#pragma once

#include <cstdint>

namespace speft::cpu {
namespace {

struct Half {
    std::uint16_t bits;
};

struct BFloat {
    std::uint16_t bits;
};

}  // namespace
}  // namespace speft::cpu
