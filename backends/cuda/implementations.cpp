// Which implementations each operation has, fastest first; the last takes every case.
#include <cstdint>

#include "backends/cuda/device.h"
#include "backends/cuda/guard.h"
#include "backends/cuda/operations.h"

namespace speft::cuda {
namespace {

const char *accept(const speft_backend_device *, const void *) { return nullptr; }

template <class Arguments, std::uint64_t (*bytes)(const speft_backend_device &, const Arguments &)>
std::uint64_t scratch_of(const speft_backend_device *device, const void *arguments) {
    return bytes(*device, *static_cast<const Arguments *>(arguments));
}

template <class Arguments, void (*operation)(speft_backend_device &, const Arguments &, void *)>
speft_status run(speft_backend_device *device, const void *arguments, void *scratch, speft_backend_failure *failure) {
    return guarded(device->ordinal, failure,
                   [&] { operation(*device, *static_cast<const Arguments *>(arguments), scratch); });
}

using Refusal = const char *(*)(const speft_backend_device *, const void *);

template <class Arguments, void (*operation)(speft_backend_device &, const Arguments &, void *)>
constexpr speft_backend_implementation without_scratch(const char *name, Refusal refuse = accept) {
    return {name, refuse, nullptr, run<Arguments, operation>};
}

template <class Arguments, void (*operation)(speft_backend_device &, const Arguments &, void *),
          std::uint64_t (*bytes)(const speft_backend_device &, const Arguments &)>
constexpr speft_backend_implementation with_scratch(const char *name, Refusal refuse = accept) {
    return {name, refuse, scratch_of<Arguments, bytes>, run<Arguments, operation>};
}

// arrays
constexpr speft_backend_implementation of_scale[] = {without_scratch<speft_scale, scale>("grouped")};
constexpr speft_backend_implementation of_sum_squares[] = {
    with_scratch<speft_sum_squares, sum_squares, sum_squares_scratch>("grouped")};

struct Listed {
    const speft_backend_implementation *first = nullptr;
    std::uint32_t count = 0;
};

template <std::uint32_t size>
Listed all(const speft_backend_implementation (&implementations)[size]) {
    return {implementations, size};
}

Listed list(std::int32_t operation) {
    switch (operation) {
    // arrays
    case SPEFT_OPERATION_SCALE: return all(of_scale);
    case SPEFT_OPERATION_SUM_SQUARES: return all(of_sum_squares);
    default: return {};
    }
}

}  // namespace

const speft_backend_implementation *list_implementations(std::int32_t operation, std::uint32_t *count) {
    const Listed listed = list(operation);
    *count = listed.count;
    return listed.first;
}

}  // namespace speft::cuda
