#include "speft/status.h"

const char *speft_get_status_name(speft_status status) {
    switch (status) {
    case SPEFT_OK: return "OK";
    case SPEFT_INVALID_ARGUMENT: return "INVALID_ARGUMENT";
    case SPEFT_OUT_OF_MEMORY: return "OUT_OF_MEMORY";
    case SPEFT_UNSUPPORTED: return "UNSUPPORTED";
    case SPEFT_UNAVAILABLE: return "UNAVAILABLE";
    case SPEFT_INVALID_STATE: return "INVALID_STATE";
    case SPEFT_BUSY: return "BUSY";
    case SPEFT_IO: return "IO";
    case SPEFT_CORRUPT: return "CORRUPT";
    case SPEFT_DEVICE: return "DEVICE";
    case SPEFT_CANCELLED: return "CANCELLED";
    case SPEFT_INTERNAL: return "INTERNAL";
    default: return "UNKNOWN";
    }
}
