#include "speft/context.h"

#include "capi/src/guard.h"
#include "capi/src/handles.h"
#include "core/backend/operation.h"
#include "core/backend/registry.h"

using namespace speft;

void speft_context_options_init(speft_context_options *options, uint32_t size) { init_struct(options, size, {}); }

speft_status speft_create_context(const speft_context_options *options, speft_context **context,
                                  speft_error **error) {
    return guard(error, [&] {
        require(context, "context");
        ContextOptions chosen;
        speft_context_options given{};
        speft_allocator allocator{};
        speft_logger logger{};
        speft_parallel_for parallel_for{};
        if (options) given = read_struct(options, "context options");
        if (given.backend) chosen.backend = given.backend;
        if (given.backend_path) chosen.backend_path = given.backend_path;
        chosen.threads = given.threads;
        chosen.device = given.device;
        chosen.stream = given.stream;
        if (given.allocator) {
            allocator = read_struct(given.allocator, "allocator");
            require(reinterpret_cast<void *>(allocator.allocate), "allocator.allocate");
            require(reinterpret_cast<void *>(allocator.deallocate), "allocator.deallocate");
            chosen.allocator = &allocator;
        }
        if (given.logger) {
            logger = read_struct(given.logger, "logger");
            require(reinterpret_cast<void *>(logger.log), "logger.log");
            chosen.logger = &logger;
        }
        if (given.parallel_for) {
            parallel_for = read_struct(given.parallel_for, "parallel_for");
            require(reinterpret_cast<void *>(parallel_for.run), "parallel_for.run");
            chosen.parallel_for = &parallel_for;
        }
        *context = new speft_context{std::make_shared<Context>(chosen)};
    });
}

void speft_destroy_context(speft_context *context) { delete context; }

speft_status speft_synchronize(speft_context *context, speft_error **error) {
    return guard(error, [&] { ContextCall(context)->device().synchronize(); });
}

speft_status speft_set_stream(speft_context *context, void *stream, speft_error **error) {
    return guard(error, [&] { ContextCall(context)->device().set_stream(stream); });
}

const char *speft_get_context_backend(const speft_context *context) {
    return context ? context->inner->device().table().name : nullptr;
}

int32_t speft_count_backends(void) { return backend_count; }

speft_status speft_describe_backend(int32_t index, speft_backend_info *info, speft_error **error) {
    return guard(error, [&] {
        speft_backend_info values = read_struct(info, "info");
        if (index < 0 || index >= backend_count)
            refuse("index must be between 0 and " + std::to_string(backend_count - 1) + "; got " +
                   std::to_string(index));
        const BackendState state = describe_backend(index, values.backend_path ? values.backend_path : "");
        values.available = state.table != nullptr;
        values.name = state.name;
        values.version = state.version;
        values.reason = state.reason;
        write_struct(info, "info", values);
    });
}

const char *speft_get_operation_name(int32_t index) {
    return index >= 0 && index < SPEFT_OPERATION_COUNT ? operation_names[index] : nullptr;
}

speft_status speft_get_implementation(speft_context *context, const char *operation, const char **name,
                                      speft_error **error) {
    return guard(error, [&] {
        ContextCall call(context);
        *require(name, "name") = call->device().last_implementation(find_operation(require(operation, "operation")));
    });
}

speft_status speft_set_implementation(speft_context *context, const char *operation, const char *name,
                                      speft_error **error) {
    return guard(error, [&] {
        ContextCall call(context);
        call->device().force_implementation(find_operation(require(operation, "operation")), name);
    });
}

speft_status speft_get_implementation_name(speft_context *context, const char *operation, int32_t index,
                                           const char **name, speft_error **error) {
    return guard(error, [&] {
        ContextCall call(context);
        if (index < 0) refuse("index must be 0 or more; got " + std::to_string(index));
        *require(name, "name") =
            call->device().implementation_name(find_operation(require(operation, "operation")), index);
    });
}
