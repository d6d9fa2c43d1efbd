#include "core/backend/operation.h"

#include <cstring>
#include <string>

#include "core/base/status.h"

namespace speft {

std::int32_t find_operation(const char *name) {
    std::string known;
    for (std::int32_t operation = 0; operation < SPEFT_OPERATION_COUNT; ++operation) {
        if (std::strcmp(operation_names[operation], name) == 0) return operation;
        known += (operation ? ", " : "") + std::string(operation_names[operation]);
    }
    refuse("operation must be one of " + known + "; got '" + name + "'");
}

}  // namespace speft
