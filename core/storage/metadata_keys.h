// The members of "__metadata__" that are ours.
#pragma once

namespace speft {

inline constexpr const char *format_key = "speft.format";
inline constexpr const char *version_key = "speft.version";
inline constexpr const char *adapter_key = "speft.adapter";
inline constexpr const char *training_key = "speft.training";
inline constexpr const char *checksum_key = "speft.checksum";

}  // namespace speft
