// The backend's table: the device's life and its memory. Its operations are in implementations.cpp. A libspeft that it
// is linked into calls it by its own name; as a plug-in it has that of entry.cpp.
#include <sched.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <system_error>

#include "backends/cpu/device.h"
#include "backends/cpu/guard.h"
#include "backends/cpu/operations.h"
#include "speft/tensor.h"

namespace speft::cpu {
namespace {

constexpr std::size_t memory_alignment = 64;

std::int32_t score(const char **reason) {
    *reason = "";
    return 1;
}

// CPUs in this process's affinity mask, which is what taskset, cpusets and most schedulers limit.
int count_cpus() {
    for (int cpus = CPU_SETSIZE;; cpus *= 2) {
        const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t *)> mask(CPU_ALLOC(cpus),
                                                                     [](cpu_set_t *set) { CPU_FREE(set); });
        if (!mask) throw std::bad_alloc();
        const std::size_t bytes = CPU_ALLOC_SIZE(cpus);
        if (sched_getaffinity(0, bytes, mask.get()) == 0) return CPU_COUNT_S(bytes, mask.get());
        // EINVAL: the kernel's mask is longer than this one.
        if (errno != EINVAL) throw std::system_error(errno, std::generic_category(), "sched_getaffinity");
    }
}

void check_stream(const void *stream) {
    if (stream) refuse_unsupported("stream must be NULL on the CPU, which has none; got another pointer");
}

int choose_threads(const speft_backend_device_options &options) {
    if (options.threads < 0) refuse("threads must be at least 0, got " + std::to_string(options.threads));
    if (!options.parallel_for) return options.threads ? options.threads : count_cpus();
    const std::int32_t limit = options.parallel_for->threads;
    if (limit < 1) refuse("parallel_for.threads must be at least 1, got " + std::to_string(limit));
    if (!options.parallel_for->run) refuse("parallel_for.run must be a function, got NULL");
    return options.threads ? std::min(options.threads, limit) : limit;
}

speft_status create_device(const speft_backend_device_options *options, speft_backend_device **device,
                           speft_backend_failure *failure) {
    return guarded(failure, [&] {
        if (options->device != 0)
            refuse("device must be 0, the only one of the CPU backend; got " + std::to_string(options->device));
        check_stream(options->stream);
        const int threads = choose_threads(*options);
        *device = new speft_backend_device{
            threads, options->parallel_for ? *options->parallel_for : speft_parallel_for{}};
    });
}

void destroy_device(speft_backend_device *device) { delete device; }

speft_status set_stream(speft_backend_device *, void *stream, speft_backend_failure *failure) {
    return guarded(failure, [&] { check_stream(stream); });
}

speft_status synchronize(speft_backend_device *, speft_backend_failure *) { return SPEFT_OK; }

// Arrays as large as the weights are asked for in huge pages: with small ones, first touching and giving back an
// accumulator takes as long as a selection. The kernel may decline, and nothing but time depends on it.
void *allocate(speft_backend_device *, std::uint64_t bytes) {
    constexpr std::uint64_t huge_page = 2 << 20;
    if (bytes > PTRDIFF_MAX) return nullptr;
    const bool huge = bytes >= 4 * huge_page;
    void *memory = nullptr;
    if (posix_memalign(&memory, huge ? huge_page : memory_alignment, std::max<std::uint64_t>(bytes, 1)) != 0)
        return nullptr;
    if (huge) madvise(memory, bytes / huge_page * huge_page, MADV_HUGEPAGE);
    return memory;
}

void deallocate(speft_backend_device *, void *memory, std::uint64_t) { std::free(memory); }

speft_status copy(speft_backend_device *, void *target, const void *source, std::uint64_t bytes, std::int32_t,
                  speft_backend_failure *) {
    if (bytes > 0) std::memmove(target, source, bytes);
    return SPEFT_OK;
}

speft_status zero(speft_backend_device *, void *memory, std::uint64_t bytes, speft_backend_failure *) {
    if (bytes > 0) std::memset(memory, 0, bytes);
    return SPEFT_OK;
}

constexpr speft_backend_table table = {
    .struct_size = sizeof(speft_backend_table),
    .abi_version = SPEFT_BACKEND_ABI_VERSION,
    .name = "cpu",
    .version = SPEFT_VERSION,
    .device_type = SPEFT_DEVICE_CPU,
    .reserved = 0,
    .score = score,
    .create_device = create_device,
    .destroy_device = destroy_device,
    .set_stream = set_stream,
    .synchronize = synchronize,
    .allocate = allocate,
    .deallocate = deallocate,
    .copy = copy,
    .zero = zero,
    .implementations = list_implementations,
};

}  // namespace
}  // namespace speft::cpu

extern "C" const speft_backend_table *speft_cpu_backend_main(std::uint32_t abi_version) {
    return abi_version == SPEFT_BACKEND_ABI_VERSION ? &speft::cpu::table : nullptr;
}
