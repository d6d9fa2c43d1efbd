// The leading eigenvectors of a symmetric matrix: by LAPACK where there is one, else by Eigen, in double precision and
// on one thread either way.
//
// Scratch of LAPACK: three matrices of doubles. Eigen allocates as many for itself.
#include "backends/cpu/operations.h"
#include "core/base/algebra/eigenvectors.h"

namespace speft::cpu {

void find_eigenvectors(const speft_backend_device &, const speft_find_eigenvectors &arguments) {
    algebra::find_leading_eigenvectors(arguments.matrix, arguments.size, arguments.count, arguments.vectors,
                                       arguments.values);
}

const char *refuse_lapack(const speft_backend_device *, const void *arguments) {
    return algebra::refuse_lapack(static_cast<const speft_find_eigenvectors *>(arguments)->size);
}

std::uint64_t find_eigenvectors_lapack_scratch(const speft_backend_device &,
                                               const speft_find_eigenvectors &arguments) {
    return algebra::count_lapack_bytes(arguments.size);
}

void find_eigenvectors_lapack(const speft_backend_device &, const speft_find_eigenvectors &arguments, void *scratch) {
    algebra::find_leading_eigenvectors_by_lapack(arguments.matrix, arguments.size, arguments.count, arguments.vectors,
                                                 arguments.values, scratch);
}

}  // namespace speft::cpu
