#include "backends/cuda/libraries/library.h"

#include <dlfcn.h>

namespace speft::cuda {

void *open_library([[maybe_unused]] const char *name) {
#ifdef SPEFT_CUDA_EMULATED
    return nullptr;  // they would look for the GPU
#else
    void *const loaded = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
    return loaded ? loaded : dlopen(name, RTLD_NOW | RTLD_LOCAL);
#endif
}

void *find_symbol(void *library, const char *name) { return dlsym(library, name); }

}  // namespace speft::cuda
