#include <algorithm>

#include "backends/cpu/guard.h"
#include "backends/cpu/operations.h"
#include "backends/cpu/product/code_kernels.h"
#include "backends/cpu/product/kernels.h"
#ifdef SPEFT_WITH_ONEDNN
#include "backends/cpu/product/onednn.h"
#endif
#include "backends/cpu/quantization/kernels.h"
#include "backends/cpu/selection/random_kernels.h"
#include "backends/cpu/selection/score_filter.h"

namespace speft::cpu {
namespace {

const char *accept(const speft_backend_device *, const void *) { return nullptr; }

template <class Arguments, void (*operation)(const speft_backend_device &, const Arguments &)>
speft_status run(speft_backend_device *device, const void *arguments, void *, speft_backend_failure *failure) {
    return guarded(failure, [&] { operation(*device, *static_cast<const Arguments *>(arguments)); });
}

template <class Arguments, void (*operation)(const speft_backend_device &, const Arguments &, void *)>
speft_status run_with_scratch(speft_backend_device *device, const void *arguments, void *scratch,
                              speft_backend_failure *failure) {
    return guarded(failure, [&] { operation(*device, *static_cast<const Arguments *>(arguments), scratch); });
}

template <class Arguments, std::uint64_t (*bytes)(const speft_backend_device &, const Arguments &)>
std::uint64_t scratch(const speft_backend_device *device, const void *arguments) {
    return bytes(*device, *static_cast<const Arguments *>(arguments));
}

template <class Arguments, void (*operation)(const speft_backend_device &, const Arguments &)>
constexpr speft_backend_implementation reference{"reference", accept, nullptr, run<Arguments, operation>};

#ifdef __x86_64__
const char *refuse_addition_without_avx2(const speft_backend_device *, const void *) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c") ? nullptr
                                                                            : "this CPU has no AVX2 with F16C";
}
#endif

constexpr speft_backend_implementation of_add_values[] = {
#ifdef __x86_64__
    {"avx2", refuse_addition_without_avx2, nullptr, run<speft_add_values, add_values_avx2>},
#endif
    reference<speft_add_values, add_values>,
};
constexpr speft_backend_implementation of_add_column_squares[] = {
    reference<speft_add_column_squares, add_column_squares>};
constexpr speft_backend_implementation of_select_rows[] = {
    {"reference", accept, scratch<speft_select_rows, select_rows_scratch>,
     run_with_scratch<speft_select_rows, select_rows>},
};
constexpr speft_backend_implementation of_find_indices[] = {reference<speft_find_indices, find_indices>};
constexpr speft_backend_implementation of_combine_indices[] = {
    {"reference", accept, scratch<speft_combine_indices, combine_indices_scratch>,
     run_with_scratch<speft_combine_indices, combine_indices>},
};
constexpr speft_backend_implementation of_take[] = {reference<speft_take, take>};
constexpr speft_backend_implementation of_sum_squares[] = {reference<speft_sum_squares, sum_squares>};
constexpr speft_backend_implementation of_scale[] = {reference<speft_scale, scale>};
constexpr speft_backend_implementation of_step_adamw[] = {reference<speft_step_adamw, step_adamw>};
constexpr speft_backend_implementation of_step_sgd[] = {reference<speft_step_sgd, step_sgd>};
constexpr speft_backend_implementation of_step_lion[] = {reference<speft_step_lion, step_lion>};
constexpr speft_backend_implementation of_step_sm3[] = {
    {"reference", accept, scratch<speft_step_sm3, step_sm3_scratch>, run_with_scratch<speft_step_sm3, step_sm3>},
};
constexpr speft_backend_implementation of_step_adafactor[] = {
    {"reference", accept, scratch<speft_step_adafactor, step_adafactor_scratch>,
     run_with_scratch<speft_step_adafactor, step_adafactor>},
};
constexpr speft_backend_implementation of_convert_moments[] = {reference<speft_convert_moments, convert_moments>};
constexpr speft_backend_implementation of_capture[] = {reference<speft_capture, capture>};
constexpr speft_backend_implementation of_merge[] = {
    {"reference", accept, scratch<speft_merge_segments, merge_scratch>, run_with_scratch<speft_merge_segments, merge>},
};
constexpr speft_backend_implementation of_unmerge[] = {
    {"reference", accept, scratch<speft_unmerge_segments, unmerge_scratch>,
     run_with_scratch<speft_unmerge_segments, unmerge>},
};
constexpr speft_backend_implementation of_measure_rounding[] = {
    reference<speft_measure_rounding, measure_rounding>};

constexpr speft_backend_implementation of_requantize[] = {reference<speft_requantize_blocks, requantize>};

#ifdef __x86_64__
const char *refuse_without_avx512(const speft_backend_device *, const void *) {
    return __builtin_cpu_supports("avx512f") ? nullptr : "this CPU has no AVX-512";
}

template <class Activations>
bool are_bfloat16(const Activations &activations) {
    return activations.x_type == SPEFT_SCALAR_BFLOAT16 && activations.dy_type == SPEFT_SCALAR_BFLOAT16;
}

bool are_bfloat16(const speft_multiply &product) {
    return product.a_type == SPEFT_SCALAR_BFLOAT16 && product.b_type == SPEFT_SCALAR_BFLOAT16;
}

bool are_bfloat16(const speft_select_product &selection) {
    return std::all_of(selection.scores, selection.scores + selection.tensors, [](const speft_product_score &score) {
        return std::all_of(score.parts, score.parts + score.count, are_bfloat16<speft_product_factors>);
    });
}

template <class Arguments>
const char *refuse_without_avx512_bf16(const speft_backend_device *, const void *arguments) {
    if (!__builtin_cpu_supports("avx512bf16")) return "this CPU has no AVX-512 BF16";
    return are_bfloat16(*static_cast<const Arguments *>(arguments)) ? nullptr : "the factors are not both bfloat16";
}

const char *refuse_without_avx2(const speft_backend_device *, const void *) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")
               ? nullptr
               : "this CPU has no AVX2 with FMA and F16C";
}
#endif

// An operation that any set of kernels can do.
template <class Arguments,
          std::uint64_t (*bytes)(const speft_backend_device &, const Arguments &, const ProductKernels &),
          void (*operation)(const speft_backend_device &, const Arguments &, const ProductKernels &, void *)>
struct OfProducts {
    template <const ProductKernels &kernels>
    static constexpr speft_backend_implementation with(const char *name,
                                                       const char *(*refuse)(const speft_backend_device *,
                                                                             const void *)) {
        return {name, refuse, scratch<kernels>, run<kernels>};
    }

private:
    template <const ProductKernels &kernels>
    static std::uint64_t scratch(const speft_backend_device *device, const void *arguments) {
        return bytes(*device, *static_cast<const Arguments *>(arguments), kernels);
    }

    template <const ProductKernels &kernels>
    static speft_status run(speft_backend_device *device, const void *arguments, void *memory,
                            speft_backend_failure *failure) {
        return guarded(failure, [&] {
            operation(*device, *static_cast<const Arguments *>(arguments), kernels, memory);
        });
    }
};

using AddProduct = OfProducts<speft_add_product, add_product_scratch, add_product>;
using SelectProduct = OfProducts<speft_select_product, select_product_scratch, select_product>;
using AddExampleSquares =
    OfProducts<speft_add_example_squares, add_example_squares_scratch, add_example_squares>;
using Factorize = OfProducts<speft_factorize, factorize_scratch, factorize>;
using Multiply = OfProducts<speft_multiply, multiply_packed_scratch, multiply_packed>;
using MultiplySparse = OfProducts<speft_multiply_sparse, multiply_sparse_packed_scratch, multiply_sparse_packed>;
using AddGram = OfProducts<speft_add_gram, add_gram_scratch, add_gram>;

// Intel's matrix unit (AMX) is reached through oneDNN only. Without it oneDNN is as fast as AVX-512 here, within 5%.
constexpr speft_backend_implementation of_add_product[] = {
#ifdef SPEFT_WITH_ONEDNN
    {"onednn_amx", refuse_onednn_amx, scratch<speft_add_product, onednn_scratch>,
     run_with_scratch<speft_add_product, add_product_onednn>},
#endif
#ifdef __x86_64__
    AddProduct::with<avx512_bf16_kernels>("avx512_bf16", refuse_without_avx512_bf16<speft_add_product>),
    AddProduct::with<avx512_kernels>("avx512", refuse_without_avx512),
#endif
#ifdef SPEFT_WITH_ONEDNN
    {"onednn", refuse_onednn, scratch<speft_add_product, onednn_scratch>,
     run_with_scratch<speft_add_product, add_product_onednn>},
#endif
#ifdef __x86_64__
    AddProduct::with<avx2_kernels>("avx2", refuse_without_avx2),
#endif
    AddProduct::with<reference_kernels>("reference", accept),
};

constexpr speft_backend_implementation of_select_product[] = {
#ifdef __x86_64__
    SelectProduct::with<avx512_bf16_kernels>("avx512_bf16", refuse_without_avx512_bf16<speft_select_product>),
    SelectProduct::with<avx512_kernels>("avx512", refuse_without_avx512),
    SelectProduct::with<avx2_kernels>("avx2", refuse_without_avx2),
#endif
    SelectProduct::with<reference_kernels>("reference", accept),
};

constexpr speft_backend_implementation of_add_example_squares[] = {
#ifdef __x86_64__
    AddExampleSquares::with<avx512_bf16_kernels>("avx512_bf16", refuse_without_avx512_bf16<speft_add_example_squares>),
    AddExampleSquares::with<avx512_kernels>("avx512", refuse_without_avx512),
    AddExampleSquares::with<avx2_kernels>("avx2", refuse_without_avx2),
#endif
    AddExampleSquares::with<reference_kernels>("reference", accept),
};

constexpr speft_backend_implementation of_factorize[] = {
#ifdef __x86_64__
    Factorize::with<avx512_kernels>("avx512", refuse_without_avx512),
    Factorize::with<avx2_kernels>("avx2", refuse_without_avx2),
#endif
    Factorize::with<reference_kernels>("reference", accept),
};

constexpr speft_backend_implementation of_add_gram[] = {
#ifdef __x86_64__
    AddGram::with<avx512_kernels>("avx512", refuse_without_avx512),
    AddGram::with<avx2_kernels>("avx2", refuse_without_avx2),
#endif
    AddGram::with<reference_kernels>("reference", accept),
};

constexpr speft_backend_implementation of_multiply[] = {
#ifdef SPEFT_WITH_ONEDNN
    {"onednn_amx", refuse_multiply_onednn_amx, scratch<speft_multiply, multiply_onednn_scratch>,
     run_with_scratch<speft_multiply, multiply_onednn>},
#endif
#ifdef __x86_64__
    Multiply::with<avx512_bf16_kernels>("avx512_bf16", refuse_without_avx512_bf16<speft_multiply>),
    Multiply::with<avx512_kernels>("avx512", refuse_without_avx512),
#endif
#ifdef SPEFT_WITH_ONEDNN
    {"onednn", refuse_multiply_onednn, scratch<speft_multiply, multiply_onednn_scratch>,
     run_with_scratch<speft_multiply, multiply_onednn>},
#endif
#ifdef __x86_64__
    Multiply::with<avx2_kernels>("avx2", refuse_without_avx2),
#endif
    Multiply::with<reference_kernels>("packed", accept),
    reference<speft_multiply, multiply>,
};

constexpr speft_backend_implementation of_multiply_sparse[] = {
#ifdef __x86_64__
    MultiplySparse::with<avx512_kernels>("avx512", refuse_without_avx512),
    MultiplySparse::with<avx2_kernels>("avx2", refuse_without_avx2),
#endif
    MultiplySparse::with<reference_kernels>("packed", accept),
    reference<speft_multiply_sparse, multiply_sparse>,
};

#ifdef __x86_64__
using Refusal = const char *(*)(const speft_backend_device *, const void *);

template <const ProductKernels &kernels, const DequantizeKernels &dequantize_kernels>
struct MultiplyPackedQuantized {
    static std::uint64_t bytes(const speft_backend_device &device, const speft_multiply_quantized &arguments) {
        return multiply_quantized_packed_scratch(device, arguments, kernels, dequantize_kernels);
    }
    static void run(const speft_backend_device &device, const speft_multiply_quantized &arguments, void *scratch) {
        multiply_quantized_packed(device, arguments, kernels, dequantize_kernels, scratch);
    }
};

template <const CodeKernels &kernels, Refusal refuse_without>
struct MultiplyCodes {
    static const char *refuse(const speft_backend_device *device, const void *arguments) {
        const char *const reason = refuse_without(device, arguments);
        return reason ? reason : refuse_codes(*static_cast<const speft_multiply_quantized *>(arguments), kernels);
    }
    static std::uint64_t bytes(const speft_backend_device &device, const speft_multiply_quantized &arguments) {
        return multiply_codes_scratch(device, arguments, kernels);
    }
    static void run(const speft_backend_device &device, const speft_multiply_quantized &arguments, void *scratch) {
        multiply_codes(device, arguments, kernels, scratch);
    }
};

template <class Multiply>
constexpr speft_backend_implementation multiply_quantized_with(const char *name, Refusal refuse) {
    return {name, refuse, scratch<speft_multiply_quantized, Multiply::bytes>,
            run_with_scratch<speft_multiply_quantized, Multiply::run>};
}

using CodesAvx512 = MultiplyCodes<avx512_code_kernels, refuse_without_avx512>;
using CodesAvx2 = MultiplyCodes<avx2_code_kernels, refuse_without_avx2>;
using PackedQuantizedAvx512 = MultiplyPackedQuantized<avx512_kernels, avx512_dequantize_kernels>;
using PackedQuantizedAvx2 = MultiplyPackedQuantized<avx2_kernels, avx2_dequantize_kernels>;
#endif

constexpr speft_backend_implementation of_multiply_quantized[] = {
#ifdef __x86_64__
    multiply_quantized_with<CodesAvx512>("avx512_codes", CodesAvx512::refuse),
    multiply_quantized_with<CodesAvx2>("avx2_codes", CodesAvx2::refuse),
    multiply_quantized_with<PackedQuantizedAvx512>("avx512", refuse_without_avx512),
    multiply_quantized_with<PackedQuantizedAvx2>("avx2", refuse_without_avx2),
#endif
    reference<speft_multiply_quantized, multiply_quantized>,
};

constexpr speft_backend_implementation of_find_eigenvectors[] = {
    {"lapack", refuse_lapack, scratch<speft_find_eigenvectors, find_eigenvectors_lapack_scratch>,
     run_with_scratch<speft_find_eigenvectors, find_eigenvectors_lapack>},
    reference<speft_find_eigenvectors, find_eigenvectors>,
};

#ifdef __x86_64__
const char *refuse_bracketing_without_avx512(const speft_backend_device *, const void *arguments) {
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi2")
               ? refuse_to_bracket(*static_cast<const speft_select_top *>(arguments))
               : "this CPU has no AVX-512 VBMI2";
}

const char *refuse_bracketing_without_avx2(const speft_backend_device *, const void *arguments) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c") && __builtin_cpu_supports("popcnt")
               ? refuse_to_bracket(*static_cast<const speft_select_top *>(arguments))
               : "this CPU has no AVX2 with F16C";
}

const char *refuse_random_without_avx512(const speft_backend_device *, const void *) {
    return __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vbmi2")
               ? nullptr
               : "this CPU has no AVX-512 VBMI2";
}

const char *refuse_random_without_avx2(const speft_backend_device *, const void *arguments) {
    if (static_cast<const speft_select_random *>(arguments)->threshold != 0)
        return "AVX2 has no 64-bit products, of which draws by probability are made";
    return __builtin_cpu_supports("avx2") ? nullptr : "this CPU has no AVX2";
}

template <const ScoreFilter &filter>
speft_status run_bracketed(speft_backend_device *device, const void *arguments, void *scratch,
                           speft_backend_failure *failure) {
    return guarded(failure, [&] {
        select_top_bracketed(*device, *static_cast<const speft_select_top *>(arguments), scratch, filter);
    });
}

template <const RandomKernels &kernels>
speft_status run_random(speft_backend_device *device, const void *arguments, void *scratch,
                        speft_backend_failure *failure) {
    return guarded(failure, [&] {
        select_random_vectors(*device, *static_cast<const speft_select_random *>(arguments), scratch, kernels);
    });
}
#endif

#ifdef __x86_64__
template <const DequantizeKernels &kernels>
speft_status run_dequantization(speft_backend_device *device, const void *arguments, void *,
                                speft_backend_failure *failure) {
    return guarded(failure, [&] {
        dequantize_vectors(*device, *static_cast<const speft_dequantize_blocks *>(arguments), kernels);
    });
}

template <const QuantizeKernels &kernels>
speft_status run_quantization(speft_backend_device *device, const void *arguments, void *,
                              speft_backend_failure *failure) {
    return guarded(failure, [&] {
        quantize_vectors(*device, *static_cast<const speft_quantize_blocks *>(arguments), kernels);
    });
}

template <Refusal refuse_without>
const char *refuse_quantization(const speft_backend_device *device, const void *arguments) {
    const char *const reason = refuse_without(device, arguments);
    return reason ? reason : refuse_to_quantize(*static_cast<const speft_quantize_blocks *>(arguments));
}
#endif

constexpr speft_backend_implementation of_quantize[] = {
#ifdef __x86_64__
    {"avx512", refuse_quantization<refuse_without_avx512>, nullptr, run_quantization<avx512_quantize_kernels>},
    {"avx2", refuse_quantization<refuse_addition_without_avx2>, nullptr, run_quantization<avx2_quantize_kernels>},
#endif
    reference<speft_quantize_blocks, quantize>,
};

constexpr speft_backend_implementation of_dequantize[] = {
#ifdef __x86_64__
    {"avx512", refuse_without_avx512, nullptr, run_dequantization<avx512_dequantize_kernels>},
    {"avx2", refuse_addition_without_avx2, nullptr, run_dequantization<avx2_dequantize_kernels>},
#endif
    reference<speft_dequantize_blocks, dequantize>,
};

constexpr speft_backend_implementation of_select_top[] = {
#ifdef __x86_64__
    {"avx512", refuse_bracketing_without_avx512, scratch<speft_select_top, select_top_bracketed_scratch>,
     run_bracketed<avx512_filter>},
    {"avx2", refuse_bracketing_without_avx2, scratch<speft_select_top, select_top_bracketed_scratch>,
     run_bracketed<avx2_filter>},
#endif
    reference<speft_select_top, select_top>,
};

constexpr speft_backend_implementation of_select_random[] = {
#ifdef __x86_64__
    {"avx512", refuse_random_without_avx512, scratch<speft_select_random, select_random_vectors_scratch>,
     run_random<avx512_random>},
    {"avx2", refuse_random_without_avx2, scratch<speft_select_random, select_random_vectors_scratch>,
     run_random<avx2_random>},
#endif
    {"reference", accept, scratch<speft_select_random, select_random_scratch>,
     run_with_scratch<speft_select_random, select_random>},
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
    case SPEFT_OPERATION_FIND_INDICES: return give(of_find_indices, count);
    case SPEFT_OPERATION_COMBINE_INDICES: return give(of_combine_indices, count);
    case SPEFT_OPERATION_TAKE: return give(of_take, count);
    case SPEFT_OPERATION_SUM_SQUARES: return give(of_sum_squares, count);
    case SPEFT_OPERATION_SCALE: return give(of_scale, count);
    case SPEFT_OPERATION_STEP_ADAMW: return give(of_step_adamw, count);
    case SPEFT_OPERATION_CAPTURE: return give(of_capture, count);
    case SPEFT_OPERATION_MERGE: return give(of_merge, count);
    case SPEFT_OPERATION_UNMERGE: return give(of_unmerge, count);
    case SPEFT_OPERATION_SELECT_ROWS: return give(of_select_rows, count);
    case SPEFT_OPERATION_STEP_SGD: return give(of_step_sgd, count);
    case SPEFT_OPERATION_STEP_LION: return give(of_step_lion, count);
    case SPEFT_OPERATION_STEP_SM3: return give(of_step_sm3, count);
    case SPEFT_OPERATION_STEP_ADAFACTOR: return give(of_step_adafactor, count);
    case SPEFT_OPERATION_CONVERT_MOMENTS: return give(of_convert_moments, count);
    case SPEFT_OPERATION_MEASURE_ROUNDING: return give(of_measure_rounding, count);
    case SPEFT_OPERATION_ADD_EXAMPLE_SQUARES: return give(of_add_example_squares, count);
    case SPEFT_OPERATION_ADD_COLUMN_SQUARES: return give(of_add_column_squares, count);
    case SPEFT_OPERATION_SELECT_PRODUCT: return give(of_select_product, count);
    case SPEFT_OPERATION_FACTORIZE: return give(of_factorize, count);
    case SPEFT_OPERATION_ADD_GRAM: return give(of_add_gram, count);
    case SPEFT_OPERATION_FIND_EIGENVECTORS: return give(of_find_eigenvectors, count);
    case SPEFT_OPERATION_MULTIPLY: return give(of_multiply, count);
    case SPEFT_OPERATION_MULTIPLY_SPARSE: return give(of_multiply_sparse, count);
    case SPEFT_OPERATION_QUANTIZE: return give(of_quantize, count);
    case SPEFT_OPERATION_DEQUANTIZE: return give(of_dequantize, count);
    case SPEFT_OPERATION_MULTIPLY_QUANTIZED: return give(of_multiply_quantized, count);
    case SPEFT_OPERATION_REQUANTIZE: return give(of_requantize, count);
    default: *count = 0; return nullptr;
    }
}

}  // namespace speft::cpu
