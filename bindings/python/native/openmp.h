/* Tasks on the OpenMP threads that the process has already.
 *
 * PyTorch's workers spin for milliseconds after each of their loops. A thread of another pool that wakes up meanwhile
 * gets no core; the spinning ones would take the work at once. */
#pragma once

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdint.h>

typedef struct openmp_loop {
    void (*body)(void *argument, int64_t index);
    void *argument;
    int64_t count;
    _Atomic int64_t next;
} openmp_loop;

/* GNU's entry for `#pragma omp parallel`, which LLVM's and Intel's runtimes have too: function(data) on each thread of
 * a team; 0 threads stand for as many as the calling thread's setting says. */
typedef void openmp_parallel(void (*function)(void *data), void *data, unsigned threads, unsigned flags);

/* That of the runtime whose symbols are global, as PyTorch's are; NULL when there is none. Never linked to: a second
 * runtime would bring a second pool. */
static openmp_parallel *find_openmp(void) {
    openmp_parallel *parallel = NULL;
    *(void **)&parallel = dlsym(RTLD_DEFAULT, "GOMP_parallel");
    return parallel;
}

static int has_openmp(void) { return find_openmp() != NULL; }

static void take_indices(void *data) {
    openmp_loop *loop = data;
    for (;;) {
        const int64_t index = atomic_fetch_add_explicit(&loop->next, 1, memory_order_relaxed);
        if (index >= loop->count) return;
        loop->body(loop->argument, index);
    }
}

/* A `speft_parallel_for.run`, where has_openmp(). */
static void run_on_openmp(void *user, int64_t count, void (*body)(void *argument, int64_t index), void *argument) {
    (void)user;
    openmp_loop loop = {body, argument, count, 0};
    find_openmp()(take_indices, &loop, 0, 0);
}
