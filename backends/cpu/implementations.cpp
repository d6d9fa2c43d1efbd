#include "backends/cpu/guard.h"
#include "backends/cpu/operations.h"
#include "backends/cpu/product/kernels.h"

namespace speft::cpu {
namespace {

const char *accept(const speft_backend_device *, const void *) { return nullptr; }

template <class Arguments, void (*operation)(const speft_backend_device &, const Arguments &)>
speft_status run(speft_backend_device *device, const void *arguments, speft_backend_failure *failure) {
    return guarded(failure, [&] { operation(*device, *static_cast<const Arguments *>(arguments)); });
}

template <const ProductKernels &kernels>
speft_status run_product(speft_backend_device *device, const void *arguments, speft_backend_failure *failure) {
    return guarded(failure,
                   [&] { add_product(*device, *static_cast<const speft_add_product *>(arguments), kernels); });
}

template <class Arguments, void (*operation)(const speft_backend_device &, const Arguments &)>
constexpr speft_backend_implementation reference{"reference", accept, run<Arguments, operation>};

constexpr speft_backend_implementation of_add_values[] = {reference<speft_add_values, add_values>};
constexpr speft_backend_implementation of_select_top[] = {reference<speft_select_top, select_top>};
constexpr speft_backend_implementation of_select_random[] = {reference<speft_select_random, select_random>};
constexpr speft_backend_implementation of_sum_squares[] = {reference<speft_sum_squares, sum_squares>};
constexpr speft_backend_implementation of_scale[] = {reference<speft_scale, scale>};
constexpr speft_backend_implementation of_step_adamw[] = {reference<speft_step_adamw, step_adamw>};
constexpr speft_backend_implementation of_capture[] = {reference<speft_capture, capture>};
constexpr speft_backend_implementation of_compare[] = {reference<speft_compare, compare>};
constexpr speft_backend_implementation of_merge[] = {reference<speft_merge_segments, merge>};
constexpr speft_backend_implementation of_unmerge[] = {reference<speft_unmerge_segments, unmerge>};

#ifdef __x86_64__
const char *refuse_without_avx512(const speft_backend_device *, const void *) {
    return __builtin_cpu_supports("avx512f") ? nullptr : "this CPU has no AVX-512";
}

const char *refuse_without_avx2(const speft_backend_device *, const void *) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? nullptr
                                                                           : "this CPU has no AVX2 with FMA";
}
#endif

constexpr speft_backend_implementation of_add_product[] = {
#ifdef __x86_64__
    {"avx512", refuse_without_avx512, run_product<avx512_kernels>},
    {"avx2", refuse_without_avx2, run_product<avx2_kernels>},
#endif
    {"reference", accept, run_product<reference_kernels>},
};

template <std::uint32_t size>
const speft_backend_implementation *give(const speft_backend_implementation (&list)[size], std::uint32_t *count) {
    *count = size;
    return list;
}

}  // namespace

const speft_backend_implementation *list_implementations(std::int32_t operation, std::uint32_t *count) noexcept {
    switch (operation) {
    case SPEFT_OPERATION_ADD_VALUES: return give(of_add_values, count);
    case SPEFT_OPERATION_ADD_PRODUCT: return give(of_add_product, count);
    case SPEFT_OPERATION_SELECT_TOP: return give(of_select_top, count);
    case SPEFT_OPERATION_SELECT_RANDOM: return give(of_select_random, count);
    case SPEFT_OPERATION_SUM_SQUARES: return give(of_sum_squares, count);
    case SPEFT_OPERATION_SCALE: return give(of_scale, count);
    case SPEFT_OPERATION_STEP_ADAMW: return give(of_step_adamw, count);
    case SPEFT_OPERATION_CAPTURE: return give(of_capture, count);
    case SPEFT_OPERATION_COMPARE: return give(of_compare, count);
    case SPEFT_OPERATION_MERGE: return give(of_merge, count);
    case SPEFT_OPERATION_UNMERGE: return give(of_unmerge, count);
    default: *count = 0; return nullptr;
    }
}

}  // namespace speft::cpu
