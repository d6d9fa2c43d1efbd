#include "life.h"

#include <stdio.h>
#include <string.h>

struct library linked_library(void) {
    const struct library library = {
#define MEMBER(name) .name = name,
        CALLS(MEMBER)
#undef MEMBER
    };
    return library;
}

static int train(const struct library *library, speft_context *context, float weights[64], speft_error **error) {
    float target[64] = {[10] = 0.5f, [33] = -0.25f}, slopes[64] = {[10] = -0.5f, [33] = 0.25f};
    int64_t shape[2] = {8, 8};
    speft_tensor layer = {weights, {SPEFT_DEVICE_CPU, 0}, 2, {SPEFT_CODE_FLOAT, 32, 1}, shape, NULL, 0};
    speft_tensor dense = layer;
    dense.data = slopes;
    speft_weights lent = {sizeof lent, .kind = SPEFT_WEIGHTS_DENSE, .data = &layer};
    speft_gradient gradient = {sizeof gradient, .kind = SPEFT_GRADIENT_DENSE, .dense = &dense};
    speft_parameter matrix = {sizeof matrix, .name = "w", .shape = shape, .ndim = 2, .dtype = layer.dtype};
    const speft_parameter *const all[] = {&matrix};
    speft_selection_options selection = {sizeof selection, .method = SPEFT_SELECT_GRADIENT, .budget = 2};
    speft_adapter_options options = {sizeof options, .selection = &selection};
    speft_adapter *adapter = NULL;
    int failed = library->speft_create_adapter(context, &options, all, 1, &adapter, error) ||
                 library->speft_bind_weights(adapter, 0, &lent, error) ||
                 library->speft_observe(adapter, 0, &gradient, error) ||
                 library->speft_finish_observation(adapter, 1, error) ||
                 library->speft_select(adapter, NULL, error);
    for (int step = 0; step < 2000 && !failed; ++step) {
        failed = library->speft_accumulate(adapter, 0, &gradient, error) ||
                 library->speft_step(adapter, NULL, error);
        for (int i = 0; i < 64; ++i) slopes[i] = weights[i] - target[i];
    }
    library->speft_destroy_adapter(adapter);
    return failed;
}

int live(const struct library *library, float weights[64], const char **implementation) {
    speft_context *context = NULL;
    speft_adapter *adapter = NULL;
    speft_error *error = NULL;
    memset(weights, 0, 64 * sizeof *weights);
    int failed = library->speft_create_context(NULL, &context, &error) ||
                 strcmp(library->speft_get_context_backend(context), "cpu") != 0 ||
                 train(library, context, weights, &error) ||
                 library->speft_get_implementation(context, "select_top", implementation, &error);
    if (failed) fprintf(stderr, "%s\n", library->speft_get_error_message(error));
    library->speft_destroy_error(error);
    /* Inside, this is an exception: it has to find its handler in whatever way the program was linked. */
    if (!failed && library->speft_load_adapter(context, NULL, "no such file", &adapter, &error) != SPEFT_IO) {
        fprintf(stderr, "a missing file is not refused as such\n");
        failed = 1;
    }
    library->speft_destroy_context(context);
    return failed;
}
