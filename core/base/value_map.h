// What becomes of a value before it is added to a sum: see SPEFT_MAP_….
#pragma once

#include <cmath>
#include <cstdint>

#include "scalar.h"
#include "speft/backend.h"

namespace speft {

SPEFT_HOST_DEVICE inline float map_value(std::int32_t map, float value) {
    switch (map) {
    case SPEFT_MAP_SQUARE: return value * value;
    case SPEFT_MAP_ABSOLUTE: return std::fabs(value);
    default: return value;
    }
}

}  // namespace speft
