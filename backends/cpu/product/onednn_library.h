// oneDNN as this process has it: opened when it is first asked for, private to this plug-in, and not needed by it.
#pragma once

#include <oneapi/dnnl/dnnl.h>

namespace speft::cpu {

// Every function by its own name; engine and memory are the CPU's.
class OneDnn {
public:
    // NULL where it cannot be used: `why_not` then says so.
    static const OneDnn *get();
    static const char *why_not();

    // While it lives, what oneDNN does on this thread stays on this thread: OpenMP keeps the number of threads that a
    // parallel region may have for each thread that begins one.
    class OnOneThread {
    public:
        explicit OnOneThread(const OneDnn &library);
        ~OnOneThread();
        OnOneThread(const OnOneThread &) = delete;
        OnOneThread &operator=(const OnOneThread &) = delete;

    private:
        const OneDnn &library_;
        const int before_;
    };

    bool has_amx() const;
    dnnl_engine_t engine() const { return engine_; }

    decltype(&dnnl_memory_create) memory_create;
    decltype(&dnnl_memory_destroy) memory_destroy;
    decltype(&dnnl_memory_desc_create_with_strides) memory_desc_create_with_strides;
    decltype(&dnnl_memory_desc_destroy) memory_desc_destroy;
    decltype(&dnnl_memory_desc_get_size) memory_desc_get_size;
    decltype(&dnnl_matmul_primitive_desc_create) matmul_primitive_desc_create;
    decltype(&dnnl_primitive_desc_query_md) primitive_desc_query_md;
    decltype(&dnnl_primitive_desc_destroy) primitive_desc_destroy;
    decltype(&dnnl_primitive_attr_create) primitive_attr_create;
    decltype(&dnnl_primitive_attr_set_scratchpad_mode) primitive_attr_set_scratchpad_mode;
    decltype(&dnnl_primitive_attr_set_fpmath_mode) primitive_attr_set_fpmath_mode;
    decltype(&dnnl_primitive_attr_destroy) primitive_attr_destroy;
    decltype(&dnnl_primitive_create) primitive_create;
    decltype(&dnnl_primitive_execute) primitive_execute;
    decltype(&dnnl_primitive_destroy) primitive_destroy;
    decltype(&dnnl_stream_create) stream_create;
    decltype(&dnnl_stream_wait) stream_wait;
    decltype(&dnnl_stream_destroy) stream_destroy;

private:
    const char *open();
    bool find_functions(void *library);

    decltype(&dnnl_version) version;
    decltype(&dnnl_engine_create) engine_create;
    decltype(&dnnl_get_effective_cpu_isa) get_effective_cpu_isa;
    int (*omp_get_max_threads)();
    void (*omp_set_num_threads)(int);
    dnnl_engine_t engine_ = nullptr;
    const char *why_not_ = nullptr;
};

}  // namespace speft::cpu
