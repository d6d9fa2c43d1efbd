#include "backends/cpu/product/onednn_multiplication.h"

#include <new>
#include <string>

#include "core/base/status.h"
#include "speft/backend.h"

namespace speft::cpu {
namespace {

void check(dnnl_status_t status, const char *what) {
    if (status == dnnl_out_of_memory) throw std::bad_alloc();
    if (status != dnnl_success)
        throw Failure(SPEFT_INTERNAL, std::string("oneDNN cannot ") + what + ": its status is " +
                                          std::to_string(static_cast<int>(status)));
}

}  // namespace

Multiplication::Multiplication(const OneDnn &library, const OneDnnMatrix &left, const OneDnnMatrix &right,
                               std::uint64_t rows, std::uint64_t columns, std::uint64_t terms)
    : library_(library),
      left_(describe(library, left, rows, terms)),
      right_(describe(library, right, terms, columns)),
      tile_(describe(library, {SPEFT_SCALAR_FLOAT32, columns, 1}, rows, columns)),
      description_(describe_product()) {}

std::uint64_t Multiplication::scratchpad_bytes() const { return library_.memory_desc_get_size(scratchpad()); }

void Multiplication::run(const void *left, const void *right, float *tile, void *scratchpad_memory) const {
    dnnl_primitive_t created = nullptr;
    check(library_.primitive_create(&created, description_.get()), "make a product");
    const Owned<dnnl_primitive> primitive(created, library_.primitive_destroy);
    dnnl_stream_t begun = nullptr;
    check(library_.stream_create(&begun, library_.engine(), dnnl_stream_default_flags), "begin a stream");
    const Owned<dnnl_stream> stream(begun, library_.stream_destroy);
    const auto left_view = view(left_.get(), left), right_view = view(right_.get(), right);
    const auto tile_view = view(tile_.get(), tile);
    const auto scratchpad_view = view(scratchpad(), scratchpad_memory);
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, left_view.get()},
                                         {DNNL_ARG_WEIGHTS, right_view.get()},
                                         {DNNL_ARG_DST, tile_view.get()},
                                         {DNNL_ARG_SCRATCHPAD, scratchpad_view.get()}};
    check(library_.primitive_execute(primitive.get(), stream.get(), std::size(arguments), arguments), "multiply");
    check(library_.stream_wait(stream.get()), "end a product");
}

Multiplication::Owned<dnnl_memory_desc> Multiplication::describe(const OneDnn &library, const OneDnnMatrix &matrix,
                                                                 std::uint64_t rows, std::uint64_t columns) {
    const dnnl_dims_t sizes = {static_cast<dnnl_dim_t>(rows), static_cast<dnnl_dim_t>(columns)};
    const dnnl_dims_t strides = {static_cast<dnnl_dim_t>(matrix.row_stride),
                                 static_cast<dnnl_dim_t>(matrix.column_stride)};
    const dnnl_data_type_t type = matrix.type == SPEFT_SCALAR_FLOAT32 ? dnnl_f32 : dnnl_bf16;
    dnnl_memory_desc_t description = nullptr;
    check(library.memory_desc_create_with_strides(&description, 2, sizes, type, strides), "describe a matrix");
    return {description, library.memory_desc_destroy};
}

Multiplication::Owned<dnnl_memory> Multiplication::view(const_dnnl_memory_desc_t description,
                                                        const void *values) const {
    dnnl_memory_t memory = nullptr;
    check(library_.memory_create(&memory, description, library_.engine(), const_cast<void *>(values)),
          "view a matrix");
    return {memory, library_.memory_destroy};
}

// Strict, whatever the environment asks of oneDNN: float32 is not to be rounded to less.
Multiplication::Owned<dnnl_primitive_desc> Multiplication::describe_product() const {
    dnnl_primitive_attr_t created = nullptr;
    check(library_.primitive_attr_create(&created), "make attributes");
    const Owned<dnnl_primitive_attr> attributes(created, library_.primitive_attr_destroy);
    check(library_.primitive_attr_set_scratchpad_mode(created, dnnl_scratchpad_mode_user), "take scratch memory");
    check(library_.primitive_attr_set_fpmath_mode(created, dnnl_fpmath_mode_strict), "be strict");
    dnnl_primitive_desc_t description = nullptr;
    check(library_.matmul_primitive_desc_create(&description, library_.engine(), left_.get(), right_.get(), nullptr,
                                                tile_.get(), created),
          "describe a product");
    return {description, library_.primitive_desc_destroy};
}

const_dnnl_memory_desc_t Multiplication::scratchpad() const {
    return library_.primitive_desc_query_md(description_.get(), dnnl_query_scratchpad_md, 0);
}

}  // namespace speft::cpu
