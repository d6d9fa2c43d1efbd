// The names of the selection methods, as files and messages have them: one table for number and name.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace speft {

// "gradient" for SPEFT_SELECT_GRADIENT. Static storage. Throws Failure(SPEFT_INVALID_ARGUMENT) for other numbers.
const char *get_method_name(std::int32_t method);

std::optional<std::int32_t> find_method(std::string_view name);

}  // namespace speft
