// The leading eigenvectors of a symmetric matrix, in double precision: by cuSOLVER where there is one, else on the
// host, by LAPACK where there is one, else by Eigen. The host prepares the matrix and picks the vectors either way:
// beside the eigenproblem that takes no time.
//
// Scratch of cuSOLVER: a matrix of doubles and its work space. The host holds the matrix, in float32 and in doubles,
// and what core/base/algebra takes: it grows with the matrix.
#include <string>
#include <vector>

#include "backends/cuda/device.h"
#include "backends/cuda/guard.h"
#include "backends/cuda/libraries/cusolver.h"
#include "backends/cuda/operations.h"
#include "core/base/algebra/eigenvectors.h"
#include "core/base/status.h"

namespace speft::cuda {
namespace {

std::vector<float> read_matrix(const speft_backend_device &device, const speft_find_eigenvectors &arguments) {
    std::vector<float> matrix(arguments.size * arguments.size);
    read(device, matrix.data(), arguments.matrix, matrix.size() * sizeof(float));
    return matrix;
}

void write(const speft_backend_device &device, void *target, const void *source, std::uint64_t bytes) {
    check(cudaMemcpyAsync(target, source, bytes, cudaMemcpyHostToDevice, device.stream), "find_eigenvectors");
    wait(device);
}

void write_vectors(const speft_backend_device &device, const speft_find_eigenvectors &arguments,
                   const std::vector<float> &vectors) {
    write(device, arguments.vectors, vectors.data(), vectors.size() * sizeof(float));
}

}  // namespace

void find_eigenvectors(speft_backend_device &device, const speft_find_eigenvectors &arguments, void *) {
    const std::vector<float> matrix = read_matrix(device, arguments);
    std::vector<float> vectors(arguments.count * arguments.size);
    algebra::find_leading_eigenvectors(matrix.data(), arguments.size, arguments.count, vectors.data(),
                                       arguments.values);
    write_vectors(device, arguments, vectors);
}

const char *refuse_lapack(const speft_backend_device *, const void *arguments) {
    return algebra::refuse_lapack(static_cast<const speft_find_eigenvectors *>(arguments)->size);
}

void find_eigenvectors_by_lapack(speft_backend_device &device, const speft_find_eigenvectors &arguments, void *) {
    const std::vector<float> matrix = read_matrix(device, arguments);
    std::vector<float> vectors(arguments.count * arguments.size);
    std::vector<double> memory((algebra::count_lapack_bytes(arguments.size) + sizeof(double) - 1) / sizeof(double));
    algebra::find_leading_eigenvectors_by_lapack(matrix.data(), arguments.size, arguments.count, vectors.data(),
                                                 arguments.values, memory.data());
    write_vectors(device, arguments, vectors);
}

const char *refuse_cusolver(const speft_backend_device *device, const void *arguments) {
    const CurrentDevice current(device->ordinal);
    return Cusolver::refuse(*device, static_cast<const speft_find_eigenvectors *>(arguments)->size);
}

std::uint64_t find_eigenvectors_by_cusolver_scratch(const speft_backend_device &device,
                                                    const speft_find_eigenvectors &arguments) {
    const CurrentDevice current(device.ordinal);
    return Cusolver::count_bytes(device, arguments.size);
}

void find_eigenvectors_by_cusolver(speft_backend_device &device, const speft_find_eigenvectors &arguments,
                                   void *scratch) {
    const std::uint64_t size = arguments.size;
    std::vector<double> matrix(size * size), values(size);
    algebra::copy_symmetric(read_matrix(device, arguments).data(), size, matrix.data());
    write(device, scratch, matrix.data(), matrix.size() * sizeof(double));
    Cusolver::find_eigenvectors(device, size, scratch, values.data());
    read(device, matrix.data(), scratch, matrix.size() * sizeof(double));
    std::vector<float> vectors(arguments.count * size);
    algebra::write_leading(matrix.data(), values.data(), size, arguments.count, vectors.data(), arguments.values);
    write_vectors(device, arguments, vectors);
}

}  // namespace speft::cuda
