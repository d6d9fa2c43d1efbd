// Products of factors of one type by cuBLAS, summed in float32, of which TF32 is no part. A matrix by rows is its
// transpose by columns: target' = b'·a'.
//
// Scratch: cuBLAS's work space, of its own alignment; with one that is given its answers do not depend on what else
// runs. A handle that is made while a stream is captured spoils the capture: a product comes before.
#include <cstdint>

#include "backends/cuda/device.h"
#include "backends/cuda/libraries/library.h"
#include "backends/cuda/operations.h"

namespace speft::cuda {
namespace {

constexpr std::uint64_t work_bytes = 32 << 20;  // what cuBLAS recommends for its largest devices
constexpr std::uint64_t work_alignment = 256;

// Of its C interface, as its documentation has it.
constexpr int as_is = 0, transposed = 1;  // CUBLAS_OP_N, CUBLAS_OP_T
constexpr int in_float32 = 68;            // CUBLAS_COMPUTE_32F
constexpr int any_algorithm = -1;         // CUBLAS_GEMM_DEFAULT
constexpr int sum_in_float32 = 16;        // CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION
constexpr int type_numbers[] = {0, 14, 2};  // by SPEFT_SCALAR_…: CUDA_R_32F, CUDA_R_16BF, CUDA_R_16F

struct Functions {
    Handles::Create create;  // cublasCreate_v2
    int (*set_stream)(void *handle, cudaStream_t stream);
    int (*set_workspace)(void *handle, void *memory, std::size_t bytes);
    int (*set_mode)(void *handle, int mode);
    int (*multiply)(void *handle, int a_operation, int b_operation, std::int64_t rows, std::int64_t columns,
                    std::int64_t inner, const void *alpha, const void *a, int a_type, std::int64_t a_stride,
                    const void *b, int b_type, std::int64_t b_stride, const void *beta, void *c, int c_type,
                    std::int64_t c_stride, int compute_type, int algorithm);
    const char *why_not = nullptr;
    mutable Handles handles;

    Functions() {
        void *const library = open_library("libcublas.so.13");
        if (!library)
            why_not = "libcublas.so.13 was not found";
        else if (!find(library, "cublasCreate_v2", create) || !find(library, "cublasSetStream_v2", set_stream) ||
                 !find(library, "cublasSetWorkspace_v2", set_workspace) ||
                 !find(library, "cublasSetMathMode", set_mode) || !find(library, "cublasGemmEx_64", multiply))
            why_not = "libcublas.so.13 lacks a function";
    }
};

const Functions &functions() {
    static const Functions *const found = new Functions;
    return *found;
}

}  // namespace

const char *refuse_cublas(const speft_backend_device *, const void *arguments) {
    const auto &m = *static_cast<const speft_multiply *>(arguments);
    if (functions().why_not) return functions().why_not;
    if (m.a_type != m.b_type || (m.target_type != m.a_type && m.target_type != SPEFT_SCALAR_FLOAT32))
        return "cuBLAS multiplies factors of one type, into that or float32";
    if (m.rows == 0 || m.inner == 0 || m.columns == 0) return "there is nothing to multiply";
    return nullptr;
}

std::uint64_t multiply_by_cublas_scratch(const speft_backend_device &, const speft_multiply &) {
    return work_bytes + work_alignment;
}

void multiply_by_cublas(speft_backend_device &device, const speft_multiply &m, void *scratch) {
    const Functions &cublas = functions();
    const auto rows = static_cast<std::int64_t>(m.rows), inner = static_cast<std::int64_t>(m.inner);
    const auto columns = static_cast<std::int64_t>(m.columns);
    const auto place = (reinterpret_cast<std::uintptr_t>(scratch) + work_alignment - 1) / work_alignment;
    const float base = m.accumulate ? 1 : 0;
    const std::lock_guard lock(cublas.handles.mutex);
    void *const handle = cublas.handles.get(device.ordinal, cublas.create);
    if (!handle) throw Failure(SPEFT_DEVICE, "cuBLAS does not start on this device");
    check_library(cublas.set_stream(handle, device.stream), "cublasSetStream");
    check_library(cublas.set_workspace(handle, reinterpret_cast<void *>(place * work_alignment), work_bytes),
                  "cublasSetWorkspace");
    check_library(cublas.set_mode(handle, sum_in_float32), "cublasSetMathMode");
    check_library(cublas.multiply(handle, m.b_transposed ? transposed : as_is, as_is, columns, rows, inner, &m.scale,
                                  m.b, type_numbers[m.b_type], m.b_transposed ? inner : columns, m.a,
                                  type_numbers[m.a_type], inner, &base, m.target, type_numbers[m.target_type], columns,
                                  in_float32, any_algorithm),
                  "cublasGemmEx");
}

}  // namespace speft::cuda
