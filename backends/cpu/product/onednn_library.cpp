#include "backends/cpu/product/onednn_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <string>

namespace speft::cpu {
namespace {

constexpr const char *file_name = "libdnnl.so.3";

// The folder of the plug-in, with its last slash; empty where the loader cannot tell.
std::string folder_of_this_library() {
    Dl_info info;
    if (!dladdr(reinterpret_cast<const void *>(&folder_of_this_library), &info) || !info.dli_fname) return {};
    const std::string path = info.dli_fname;
    return path.substr(0, path.rfind('/') + 1);
}

// Beside the plug-in, where SPEFT_ONEDNN says, or where the loader looks.
void *open_library() {
    const std::string folder = folder_of_this_library();
    const char *given = std::getenv("SPEFT_ONEDNN");
    void *library = folder.empty() ? nullptr : dlopen((folder + file_name).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library && given) library = dlopen(given, RTLD_NOW | RTLD_LOCAL);
    return library ? library : dlopen(file_name, RTLD_NOW | RTLD_LOCAL);
}

template <class Function>
bool find(void *library, const char *name, Function &function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    return function != nullptr;
}

// Made once and never closed: threads of hosts may outlive any order of destruction.
OneDnn &the_library() {
    static OneDnn *const library = new OneDnn;
    return *library;
}

}  // namespace

const OneDnn *OneDnn::get() {
    OneDnn &library = the_library();
    static const bool opened = !(library.why_not_ = library.open());
    return opened ? &library : nullptr;
}

const char *OneDnn::why_not() { return get() ? nullptr : the_library().why_not_; }

bool OneDnn::find_functions(void *library) {
    return find(library, "dnnl_version", version) && find(library, "dnnl_engine_create", engine_create) &&
           find(library, "dnnl_get_effective_cpu_isa", get_effective_cpu_isa) &&
           find(library, "dnnl_memory_create", memory_create) &&
           find(library, "dnnl_memory_destroy", memory_destroy) &&
           find(library, "dnnl_memory_desc_create_with_strides", memory_desc_create_with_strides) &&
           find(library, "dnnl_memory_desc_destroy", memory_desc_destroy) &&
           find(library, "dnnl_memory_desc_get_size", memory_desc_get_size) &&
           find(library, "dnnl_matmul_primitive_desc_create", matmul_primitive_desc_create) &&
           find(library, "dnnl_primitive_desc_query_md", primitive_desc_query_md) &&
           find(library, "dnnl_primitive_desc_destroy", primitive_desc_destroy) &&
           find(library, "dnnl_primitive_attr_create", primitive_attr_create) &&
           find(library, "dnnl_primitive_attr_set_scratchpad_mode", primitive_attr_set_scratchpad_mode) &&
           find(library, "dnnl_primitive_attr_set_fpmath_mode", primitive_attr_set_fpmath_mode) &&
           find(library, "dnnl_primitive_attr_destroy", primitive_attr_destroy) &&
           find(library, "dnnl_primitive_create", primitive_create) &&
           find(library, "dnnl_primitive_execute", primitive_execute) &&
           find(library, "dnnl_primitive_destroy", primitive_destroy) &&
           find(library, "dnnl_stream_create", stream_create) && find(library, "dnnl_stream_wait", stream_wait) &&
           find(library, "dnnl_stream_destroy", stream_destroy) &&
           // From the OpenMP that this oneDNN is linked to, which need not be the host's.
           find(library, "omp_get_max_threads", omp_get_max_threads) &&
           find(library, "omp_set_num_threads", omp_set_num_threads);
}

const char *OneDnn::open() {
    void *const library = open_library();
    if (!library) return "libdnnl.so.3 is neither beside the plug-in nor where SPEFT_ONEDNN or the loader points";
    if (!find_functions(library)) return "libdnnl.so.3 is no oneDNN 3 on OpenMP";
    if (version()->major != 3 || version()->cpu_runtime != DNNL_RUNTIME_OMP)
        return "libdnnl.so.3 is no oneDNN 3 on OpenMP";
    if (engine_create(&engine_, dnnl_cpu, 0) != dnnl_success) return "oneDNN has no engine for this CPU";
    return nullptr;
}

bool OneDnn::has_amx() const {
    return (get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_amx) == dnnl_cpu_isa_avx512_core_amx;
}

OneDnn::OnOneThread::OnOneThread(const OneDnn &library)
    : library_(library), before_(library.omp_get_max_threads()) {
    library_.omp_set_num_threads(1);
}

OneDnn::OnOneThread::~OnOneThread() { library_.omp_set_num_threads(before_); }

}  // namespace speft::cpu
