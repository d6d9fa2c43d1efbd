/* An adapter's life on a layer of 8 × 8 weights, and a failure, by any copy of the library: a table of its functions. */
#ifndef SPEFT_TESTS_PACKAGE_LIFE_H
#define SPEFT_TESTS_PACKAGE_LIFE_H

#include <speft/speft.h>

#define CALLS(X)                                                                                                  \
    X(speft_create_context) X(speft_destroy_context) X(speft_get_context_backend) X(speft_create_adapter)         \
    X(speft_destroy_adapter) X(speft_bind_weights) X(speft_observe) X(speft_finish_observation) X(speft_select)   \
    X(speft_accumulate) X(speft_step) X(speft_unmerge) X(speft_load_adapter) X(speft_get_error_message)           \
    X(speft_get_implementation) X(speft_destroy_error)

struct library {
#define MEMBER(name) __typeof__(name) *name;
    CALLS(MEMBER)
#undef MEMBER
};

/* The weights that `library` trains, [64], and the implementation that selected them. 0, or 1 with a message on standard
 * error. */
int live(const struct library *library, float weights[64], const char **implementation);

/* The copy that the program is linked with. */
struct library linked_library(void);

#endif
