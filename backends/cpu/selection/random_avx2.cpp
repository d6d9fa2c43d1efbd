#include "backends/cpu/selection/feistel_template.h"

namespace speft::cpu {

const RandomKernels avx2_random = {.permute = FeistelTemplate<8>::permute, .draw = nullptr};

}  // namespace speft::cpu
