#include "core/base/algebra/lapack_library.h"

#include <dlfcn.h>

#include <cstdlib>

namespace speft::algebra {
namespace {

// Where SPEFT_OPENBLAS says, or where the loader looks. Not from the host: its own may have another kind of integers.
void *open_library() {
    const char *given = std::getenv("SPEFT_OPENBLAS");
    void *library = given ? dlopen(given, RTLD_NOW | RTLD_LOCAL) : nullptr;
    return library ? library : dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
}

template <class Function>
bool find(void *library, const char *name, Function &function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    return function != nullptr;
}

}  // namespace

// Made once and never closed: threads of hosts may outlive any order of destruction.
const Lapack &Lapack::look() {
    static const Lapack *const lapack = new Lapack;
    return *lapack;
}

const Lapack *Lapack::get() { return look().why_not_ ? nullptr : &look(); }

const char *Lapack::why_not() { return look().why_not_; }

Lapack::Lapack() {
    void *const library = open_library();
    if (!library) {
        why_not_ = "libopenblas.so.0 is neither where SPEFT_OPENBLAS points nor where the loader looks";
        return;
    }
    // PyPI's OpenBLAS prefixes its names.
    if ((find(library, "dsyevd_", dsyevd_) || find(library, "scipy_dsyevd_", dsyevd_)) &&
        (find(library, "openblas_set_num_threads", set_threads_) ||
         find(library, "scipy_openblas_set_num_threads", set_threads_)) &&
        (find(library, "openblas_get_num_threads", get_threads_) ||
         find(library, "scipy_openblas_get_num_threads", get_threads_)))
        return;
    why_not_ = "libopenblas.so.0 is no OpenBLAS with LAPACK";
}

int Lapack::find_eigenvectors(std::int32_t size, double *matrix, double *values, double *work,
                              std::int32_t *integers) const {
    const auto count = static_cast<std::uint64_t>(size);
    const auto of_work = static_cast<std::int32_t>(work_size(count));
    const auto of_integers = static_cast<std::int32_t>(integers_size(count));
    std::int32_t info = 0;
    // Answers must not depend on threads, and there is no second pool beside ours.
    const int before = get_threads_();
    set_threads_(1);
    dsyevd_("V", "U", &size, matrix, &size, values, work, &of_work, integers, &of_integers, &info);
    set_threads_(before);
    return info;
}

}  // namespace speft::algebra
