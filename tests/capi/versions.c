/* Versions and names that need no context. */
#include "check.h"

static void test_abi_version_is_the_headers(void) { CHECK_EQUAL(speft_abi_version(), SPEFT_ABI_VERSION); }

static void test_version_is_three_numbers(void) {
    int major = -1, minor = -1, patch = -1, length = 0;
    CHECK_EQUAL(sscanf(speft_version(), "%d.%d.%d%n", &major, &minor, &patch, &length), 3);
    CHECK_EQUAL(length, (int64_t)strlen(speft_version()));
    CHECK(major >= 0 && minor >= 0 && patch >= 0);
}

static void test_status_names_are_the_constants(void) {
    static const struct {
        speft_status status;
        int32_t number;
        const char *name;
    } statuses[] = {
        {SPEFT_OK, 0, "OK"},
        {SPEFT_INVALID_ARGUMENT, 1, "INVALID_ARGUMENT"},
        {SPEFT_OUT_OF_MEMORY, 2, "OUT_OF_MEMORY"},
        {SPEFT_UNSUPPORTED, 3, "UNSUPPORTED"},
        {SPEFT_UNAVAILABLE, 4, "UNAVAILABLE"},
        {SPEFT_INVALID_STATE, 5, "INVALID_STATE"},
        {SPEFT_BUSY, 6, "BUSY"},
        {SPEFT_IO, 7, "IO"},
        {SPEFT_CORRUPT, 8, "CORRUPT"},
        {SPEFT_DEVICE, 9, "DEVICE"},
        {SPEFT_CANCELLED, 10, "CANCELLED"},
        {SPEFT_INTERNAL, 11, "INTERNAL"},
    };
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; ++i) {
        CHECK_EQUAL(statuses[i].status, statuses[i].number);
        CHECK_TEXT(speft_get_status_name(statuses[i].number), statuses[i].name);
    }
    CHECK_TEXT(speft_get_status_name(12), "UNKNOWN");
    CHECK_TEXT(speft_get_status_name(-1), "UNKNOWN");
    CHECK_TEXT(speft_get_status_name(INT32_MAX), "UNKNOWN");
}

static void test_operations_have_names(void) {
    int32_t count = 0;
    while (speft_get_operation_name(count)) ++count;
    CHECK(count > 0);
    for (int32_t i = 0; i < count; ++i) {
        CHECK(strlen(speft_get_operation_name(i)) > 0);
        for (int32_t j = 0; j < i; ++j) CHECK(strcmp(speft_get_operation_name(i), speft_get_operation_name(j)) != 0);
    }
    CHECK(speft_get_operation_name(count + 1) == NULL);
    CHECK(speft_get_operation_name(-1) == NULL);
    CHECK(speft_get_operation_name(INT32_MAX) == NULL);
}

int main(void) {
    RUN(test_abi_version_is_the_headers);
    RUN(test_version_is_three_numbers);
    RUN(test_status_names_are_the_constants);
    RUN(test_operations_have_names);
    return check_result();
}
