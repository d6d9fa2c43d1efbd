/* The error object: who owns it, what it tells, what becomes of the pointer. */
#include "host.h"

#include <errno.h>

static speft_status fail(speft_error **where) { return speft_create_context(NULL, NULL, where); }

static void test_null_errors_are_harmless(void) {
    CHECK_EQUAL(speft_get_error_status(NULL), SPEFT_OK);
    CHECK_TEXT(speft_get_error_message(NULL), "");
    CHECK_TEXT(speft_get_error_backend(NULL), "");
    CHECK_EQUAL(speft_get_error_native_code(NULL), 0);
    speft_destroy_error(NULL);
}

static void test_the_pointer_may_be_null(void) {
    CHECK_EQUAL(fail(NULL), SPEFT_INVALID_ARGUMENT);
    speft_context *context = NULL;
    CHECK_EQUAL(speft_create_context(NULL, &context, NULL), SPEFT_OK);
    CHECK(context != NULL);
    speft_destroy_context(context);
}

static void test_a_failure_is_owned_and_tells_its_status(void) {
    speft_error *first = NULL, *second = NULL;
    CHECK_EQUAL(fail(&first), SPEFT_INVALID_ARGUMENT);
    CHECK_EQUAL(speft_create_adapter(NULL, NULL, NULL, 0, NULL, &second), SPEFT_INVALID_ARGUMENT);
    CHECK(first && second && first != second);
    CHECK_EQUAL(speft_get_error_status(first), SPEFT_INVALID_ARGUMENT);
    CHECK(strstr(speft_get_error_message(first), "context") != NULL);
    CHECK_TEXT(speft_get_error_backend(first), "");
    CHECK_EQUAL(speft_get_error_native_code(first), 0);
    speft_destroy_error(second);
    CHECK(strstr(speft_get_error_message(first), "context") != NULL);
    speft_destroy_error(first);
}

static void test_success_sets_the_pointer_to_null(void) {
    speft_context *context = create_context();
    speft_error *stale = (speft_error *)&context;
    CHECK_EQUAL(speft_synchronize(context, &stale), SPEFT_OK);
    CHECK(stale == NULL);
    speft_destroy_context(context);
}

static void test_what_was_in_the_pointer_does_not_matter(void) {
    int anything;
    speft_error *garbage = (speft_error *)&anything;
    CHECK_EQUAL(fail(&garbage), SPEFT_INVALID_ARGUMENT);
    CHECK_EQUAL(speft_get_error_status(garbage), SPEFT_INVALID_ARGUMENT);
    speft_destroy_error(garbage);
}

static void test_io_errors_carry_errno(void) {
    speft_context *context = create_context();
    speft_adapter *adapter = NULL;
    speft_error *missing = NULL;
    CHECK_EQUAL(speft_load_adapter(context, NULL, "no such folder/no such file", &adapter, &missing), SPEFT_IO);
    CHECK_EQUAL(speft_get_error_native_code(missing), ENOENT);
    CHECK(strstr(speft_get_error_message(missing), "no such folder/no such file") != NULL);
    CHECK(adapter == NULL);
    speft_destroy_context(context);
    /* The error outlives the context it came from. */
    CHECK_EQUAL(speft_get_error_status(missing), SPEFT_IO);
    speft_destroy_error(missing);
}

static void *allocate_nothing(void *user, uint64_t bytes, uint64_t alignment, void *stream) {
    (void)user, (void)bytes, (void)alignment, (void)stream;
    return NULL;
}

static void never_called(void *user, void *memory, uint64_t bytes, void *stream) {
    (void)user, (void)memory, (void)bytes, (void)stream;
    abort();
}

static void test_out_of_memory_is_an_error_like_any_other(void) {
    speft_allocator allocator;
    memset(&allocator, 0, sizeof allocator);
    allocator.struct_size = sizeof allocator;
    allocator.allocate = allocate_nothing;
    allocator.deallocate = never_called;
    speft_context_options options;
    speft_context_options_init(&options, sizeof options);
    options.allocator = &allocator;
    speft_context *context = NULL;
    CHECK_OK(speft_create_context(&options, &context, &error));

    const speft_selection_options selection = choose(SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, 0.5, 0);
    const speft_parameter parameter = DECLARE_VECTOR("w", 4);
    speft_adapter *adapter = create_adapter(context, &selection, &parameter, 1);
    float weights[] = {1, 2, 3, 4};
    bind(adapter, 0, VECTOR(weights, float32, 4));
    CHECK_FAILS(SPEFT_OUT_OF_MEMORY, "allocate", speft_select(adapter, NULL, &error));
    CHECK_EQUAL(read_state(adapter).selected, 0);
    CHECK_BYTES(weights, ((float[]){1, 2, 3, 4}), sizeof weights);
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

int main(void) {
    RUN(test_null_errors_are_harmless);
    RUN(test_the_pointer_may_be_null);
    RUN(test_a_failure_is_owned_and_tells_its_status);
    RUN(test_success_sets_the_pointer_to_null);
    RUN(test_what_was_in_the_pointer_does_not_matter);
    RUN(test_io_errors_carry_errno);
    RUN(test_out_of_memory_is_an_error_like_any_other);
    return check_result();
}
