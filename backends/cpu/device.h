// The CPU as the table knows it: how many threads it may use, and whose.
#pragma once

#include "speft/backend.h"

struct speft_backend_device {
    int threads;                  // at least 1, the caller's own among them
    speft_parallel_for host_loop; // run == NULL: the threads come from the pool
};
