/* Versions: of the release, and of the binary interface. */
#ifndef SPEFT_VERSION_H
#define SPEFT_VERSION_H

#include <stdint.h>

#include "export.h"

/* The binary interface these headers describe. 0: it may still change, and each change is in CHANGELOG.md;
 * from 1 on there are additions only. */
#define SPEFT_ABI_VERSION 0

SPEFT_BEGIN_DECLS

/* SPEFT_ABI_VERSION of the library that is loaded. Any thread. */
SPEFT_API uint32_t speft_abi_version(void);

/* The release, "0.1.0" say. Static storage. Any thread. */
SPEFT_API const char *speft_version(void);

SPEFT_END_DECLS

#endif
