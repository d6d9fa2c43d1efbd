// The name by which plug-ins are entered. Not linked into libspeft, where backends could not share it.
#include <cstdint>

#include "speft/backend.h"

extern "C" const speft_backend_table *speft_cpu_backend_main(std::uint32_t abi_version);

extern "C" __attribute__((visibility("default"))) const speft_backend_table *speft_backend_main(
    std::uint32_t abi_version) {
    return speft_cpu_backend_main(abi_version);
}
