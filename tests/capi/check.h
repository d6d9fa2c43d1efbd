/* A harness of one header. A test program is a list of functions:
 *
 *     int main(void) { RUN(this); RUN(that); return check_result(); }
 *
 * A CHECK that does not hold is told and counted, and the test goes on. A call that had to succeed and did not ends
 * the program: nothing after it would mean anything. */
#ifndef SPEFT_TESTS_CAPI_CHECK_H
#define SPEFT_TESTS_CAPI_CHECK_H

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <speft/speft.h>

/* Where the calls under test leave their error: CHECK_OK(speft_step(adapter, NULL, &error)). */
static _Thread_local speft_error *error;

static atomic_int check_failures;

#define CHECK(condition) check_true((condition), #condition, __FILE__, __LINE__)
#define CHECK_EQUAL(actual, expected) check_equal((actual), (expected), #actual, __FILE__, __LINE__)
#define CHECK_BYTES(actual, expected, size) \
    check_true(memcmp((actual), (expected), (size)) == 0, #actual " has the bytes of " #expected, __FILE__, __LINE__)
#define CHECK_TEXT(actual, expected) check_text((actual), (expected), #actual, __FILE__, __LINE__)
#define CHECK_OK(call) check_ok((call), #call, __FILE__, __LINE__)
/* The call fails with this status, and its message contains `text`. */
#define CHECK_FAILS(status, text, call) check_fails((call), (status), (text), #call, __FILE__, __LINE__)
#define RUN(test) check_run(test, #test)

static inline void check_true(int holds, const char *what, const char *file, int line) {
    if (holds) return;
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    atomic_fetch_add(&check_failures, 1);
}

static inline void check_equal(int64_t actual, int64_t expected, const char *what, const char *file, int line) {
    if (actual == expected) return;
    fprintf(stderr, "%s:%d: %s is %" PRId64 ", expected %" PRId64 "\n", file, line, what, actual, expected);
    atomic_fetch_add(&check_failures, 1);
}

static inline void check_text(const char *actual, const char *expected, const char *what, const char *file,
                              int line) {
    if (actual && strcmp(actual, expected) == 0) return;
    fprintf(stderr, "%s:%d: %s is '%s', expected '%s'\n", file, line, what, actual ? actual : "NULL", expected);
    atomic_fetch_add(&check_failures, 1);
}

static inline void check_ok(speft_status status, const char *call, const char *file, int line) {
    if (status == SPEFT_OK && !error) return;
    fprintf(stderr, "%s:%d: %s returned %s: %s\n", file, line, call, speft_get_status_name(status),
            speft_get_error_message(error));
    exit(EXIT_FAILURE);
}

static inline void check_fails(speft_status status, speft_status expected, const char *text, const char *call,
                               const char *file, int line) {
    const char *message = speft_get_error_message(error);
    const int as_expected = status == expected && speft_get_error_status(error) == expected &&
                            strstr(message, text) && !strchr(message, '\n');
    if (!as_expected) {
        fprintf(stderr, "%s:%d: %s\n    returned %s: %s\n    expected %s, in one line, with '%s'\n", file, line, call,
                speft_get_status_name(status), message, speft_get_status_name(expected), text);
        atomic_fetch_add(&check_failures, 1);
    }
    speft_destroy_error(error);
    error = NULL;
}

static inline void check_run(void (*test)(void), const char *name) {
    const int before = atomic_load(&check_failures);
    test();
    printf("%s %s\n", atomic_load(&check_failures) == before ? "ok  " : "FAIL", name);
    fflush(stdout);
}

static inline int check_result(void) { return atomic_load(&check_failures) ? EXIT_FAILURE : EXIT_SUCCESS; }

#endif
