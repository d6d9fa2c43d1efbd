#include "backends/cuda/libraries/cusolver.h"

#include "backends/cuda/libraries/library.h"

namespace speft::cuda {
namespace {

constexpr std::uint64_t longest = 32000;  // its sizes are 32-bit integers, also that of the work space

// Of its C interface, as its documentation has it.
constexpr int with_vectors = 1, lower = 0;  // CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_LOWER

struct Functions {
    Handles::Create create;  // cusolverDnCreate
    int (*set_stream)(void *handle, cudaStream_t stream);
    int (*find_size)(void *handle, int mode, int triangle, int size, const double *matrix, int stride,
                     const double *values, int *work_size);
    int (*find_eigenvectors)(void *handle, int mode, int triangle, int size, double *matrix, int stride,
                             double *values, double *work, int work_size, int *info);
    const char *why_not = nullptr;
    mutable Handles handles;

    Functions() {
        void *const library = open_library("libcusolver.so.12");
        if (!library)
            why_not = "libcusolver.so.12 was not found";
        else if (!find(library, "cusolverDnCreate", create) || !find(library, "cusolverDnSetStream", set_stream) ||
                 !find(library, "cusolverDnDsyevd_bufferSize", find_size) ||
                 !find(library, "cusolverDnDsyevd", find_eigenvectors))
            why_not = "libcusolver.so.12 lacks a function";
    }
};

const Functions &functions() {
    static const Functions *const found = new Functions;
    return *found;
}

// Of doubles; -1 where cuSOLVER does not tell.
int find_work_size(const speft_backend_device &device, std::uint64_t size) {
    const Functions &cusolver = functions();
    const std::lock_guard lock(cusolver.handles.mutex);
    void *const handle = cusolver.handles.get(device.ordinal, cusolver.create);
    const int length = static_cast<int>(size);
    int work_size = -1;
    if (!handle ||
        cusolver.find_size(handle, with_vectors, lower, length, nullptr, length, nullptr, &work_size) != 0)
        return -1;
    return work_size;
}

}  // namespace

const char *Cusolver::refuse(const speft_backend_device &device, std::uint64_t size) {
    if (functions().why_not) return functions().why_not;
    if (size > longest) return "cuSOLVER's work space for it has more entries than an int can count";
    return find_work_size(device, size) < 0 ? "cuSOLVER does not start on this device" : nullptr;
}

// The matrix, the values, the work space, and an int.
std::uint64_t Cusolver::count_bytes(const speft_backend_device &device, std::uint64_t size) {
    return (size * size + size + static_cast<std::uint64_t>(find_work_size(device, size)) + 1) * sizeof(double);
}

void Cusolver::find_eigenvectors(const speft_backend_device &device, std::uint64_t size, void *memory,
                                 double *values) {
    const Functions &cusolver = functions();
    const int length = static_cast<int>(size), work_size = find_work_size(device, size);
    auto *const matrix = static_cast<double *>(memory), *const found = matrix + size * size, *const work = found + size;
    auto *const info = reinterpret_cast<int *>(work + work_size);
    {
        const std::lock_guard lock(cusolver.handles.mutex);
        void *const handle = cusolver.handles.get(device.ordinal, cusolver.create);
        check_library(cusolver.set_stream(handle, device.stream), "cusolverDnSetStream");
        check_library(cusolver.find_eigenvectors(handle, with_vectors, lower, length, matrix, length, found, work,
                                                 work_size, info),
                      "cusolverDnDsyevd");
    }
    int failed = 0;
    read(device, &failed, info, sizeof failed);
    if (failed != 0)
        throw Failure(SPEFT_INTERNAL, "cuSOLVER finds no eigenvectors: info " + std::to_string(failed));
    read(device, values, found, size * sizeof(double));
}

}  // namespace speft::cuda
