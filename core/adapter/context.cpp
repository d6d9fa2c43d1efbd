#include "core/adapter/context.h"

#include "core/backend/registry.h"
#include "core/base/status.h"

namespace speft {
namespace {

speft_backend_device_options device_options(const ContextOptions &options, const HostCallbacks &callbacks) {
    if (options.threads < 0)
        refuse("context options: threads must be 0 (choose) or more; got " + std::to_string(options.threads));
    if (options.device < 0)
        refuse("context options: device must be 0 or more; got " + std::to_string(options.device));
    return {sizeof(speft_backend_device_options), options.device, options.threads, options.stream,
            callbacks.parallel_for()};
}

}  // namespace

Context::Context(const ContextOptions &options)
    : callbacks_(options.allocator, options.logger, options.parallel_for),
      device_(choose_backend(options.backend, options.backend_path), device_options(options, callbacks_),
              callbacks_.allocator()) {
    log(SPEFT_LOG_INFO, std::string("backend ") + device_.table().name + " " + device_.table().version);
    callbacks_.own();
}

void Context::log(std::int32_t level, const std::string &message) const {
    const speft_logger *logger = callbacks_.logger();
    if (logger && level >= logger->level) logger->log(logger->user, level, message.c_str());
}

Turn::Turn(Context &context) : context_(context) {
    if (context_.busy_.exchange(true, std::memory_order_acquire))
        throw Failure(SPEFT_BUSY, "another call is running on this context; nothing was done");
}

}  // namespace speft
