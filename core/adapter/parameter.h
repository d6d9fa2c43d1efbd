// What the host declared of one parameter.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/scalar_type.h"
#include "core/base/tensor_view.h"
#include "speft/adapter.h"

namespace speft {

enum class Role : std::int32_t { sparse = SPEFT_ROLE_SPARSE, dense = SPEFT_ROLE_DENSE };

struct Parameter {
    std::string name;
    Shape shape;
    std::uint64_t size = 1;
    ScalarType type = ScalarType::float32;
    Role role = Role::sparse;
    std::int32_t group = 0;
};

}  // namespace speft
