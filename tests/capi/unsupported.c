/* What the headers declare and this version does not have: UNSUPPORTED with a message, and nothing else happens. */
#include "scene.h"

static void test_later_adapter_options(void) {
    speft_context *context = create_context();
    speft_adapter *adapter = NULL;
    const speft_selection_options selection = choose(SPEFT_SELECT_MAGNITUDE, SPEFT_SCOPE_GLOBAL, 0.5, 0);
    speft_adapter_options options;
    speft_adapter_options_init(&options, sizeof options);
    options.selection = &selection;
    speft_parameter parameter = DECLARE_MATRIX("w", 4, 6);
    const speft_parameter *const all[] = {&parameter};

    speft_communicator communicator;
    memset(&communicator, 0, sizeof communicator);
    communicator.struct_size = sizeof communicator;
    communicator.size = 2;
    options.communicator = &communicator;
    CHECK_FAILS(SPEFT_UNSUPPORTED, "communicator", speft_create_adapter(context, &options, all, 1, &adapter, &error));
    options.communicator = NULL;

    static const int64_t offset[] = {0, 3}, extent[] = {4, 3};
    parameter.offset = offset;
    parameter.extent = extent;
    parameter.part = SPEFT_PART_RANGE;
    CHECK_FAILS(SPEFT_UNSUPPORTED, "'w'", speft_create_adapter(context, &options, all, 1, &adapter, &error));
    parameter.part = SPEFT_PART_BLOCK;
    CHECK_FAILS(SPEFT_UNSUPPORTED, "'w'", speft_create_adapter(context, &options, all, 1, &adapter, &error));
    CHECK(adapter == NULL);

    parameter.part = SPEFT_PART_WHOLE;
    parameter.offset = parameter.extent = NULL;
    communicator.size = 1;
    options.communicator = &communicator;
    CHECK_OK(speft_create_adapter(context, &options, all, 1, &adapter, &error));
    speft_destroy_adapter(adapter);
    speft_destroy_context(context);
}

static void test_control_buffers(void) {
    struct scene scene;
    start_trained_scene(&scene);
    float buffer[4] = {0};
    speft_step_options options;
    speft_step_options_init(&options, sizeof options);
    options.control = VECTOR(buffer, float32, 4);
    CHECK_REFUSED(&scene, SPEFT_UNSUPPORTED, "control", speft_step(scene.adapter, &options, &error));
    destroy_scene(&scene);
}

int main(void) {
    RUN(test_later_adapter_options);
    RUN(test_control_buffers);
    return check_result();
}
