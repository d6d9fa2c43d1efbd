/* What a context takes from the host's allocator, and how near to that a plan came. */
#ifndef SPEFT_TESTS_CAPI_METER_H
#define SPEFT_TESTS_CAPI_METER_H

#include "host.h"

#include <math.h>

/* How many bytes are lent now, and how many were at most since the last look. */
struct meter {
    int64_t now, most;
};

static inline void *metered_allocate(void *user, uint64_t bytes, uint64_t alignment, void *stream) {
    struct meter *meter = user;
    (void)stream;
    meter->now += (int64_t)bytes;
    if (meter->now > meter->most) meter->most = meter->now;
    return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

static inline void metered_deallocate(void *user, void *memory, uint64_t bytes, void *stream) {
    (void)stream;
    ((struct meter *)user)->now -= (int64_t)bytes;
    free(memory);
}

/* Of two threads, so that plans are those of several. */
static inline speft_context *create_metered_context(struct meter *meter) {
    const speft_allocator allocator = {sizeof allocator, meter, metered_allocate, metered_deallocate, NULL};
    return create_context_on(&allocator, 2);
}

static inline int64_t read_most(struct meter *meter) {
    const int64_t most = meter->most;
    meter->most = meter->now;
    return most;
}

/* Adds what has been taken since the last look to the most of its kind. */
static inline void note_most(struct meter *meter, int64_t *most) {
    const int64_t taken = read_most(meter);
    if (taken > *most) *most = taken;
}

static inline void check_planned(uint64_t planned, int64_t measured, const char *what, const char *file, int line) {
    if (fabs((double)planned - (double)measured) <= 0.05 * (double)measured) return;
    fprintf(stderr, "%s:%d: %s: planned %" PRIu64 " bytes, measured %" PRId64 "\n", file, line, what, planned,
            measured);
    atomic_fetch_add(&check_failures, 1);
}

#define CHECK_PLANNED(planned, measured) check_planned(planned, measured, #planned, __FILE__, __LINE__)

#endif
