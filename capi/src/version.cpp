#include "speft/version.h"

uint32_t speft_abi_version(void) { return SPEFT_ABI_VERSION; }

const char *speft_version(void) { return SPEFT_VERSION; }
