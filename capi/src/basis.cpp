#include "speft/basis.h"

#include "capi/src/guard.h"
#include "capi/src/handles.h"
#include "capi/src/views.h"

using namespace speft;

namespace {

[[noreturn]] void refuse_basis() { refuse_unsupported("a basis for gradients (SparseGrad) is not in this version"); }

}  // namespace

void speft_basis_options_init(speft_basis_options *options, uint32_t size) { init_struct(options, size, {}); }

speft_status speft_create_basis(speft_context *context, const speft_basis_options *options, speft_basis **basis,
                                speft_error **error) {
    return guard(error, [&] {
        ContextCall call(context);
        const speft_basis_options given = read_struct(options, "basis options");
        if (given.rows < 1 || given.columns < 1)
            refuse("basis options: rows and columns must be 1 or more; got " + std::to_string(given.rows) + " and " +
                   std::to_string(given.columns));
        require(basis, "basis");
        refuse_basis();
    });
}

// No basis can exist yet, so there is nothing to release.
void speft_destroy_basis(speft_basis *) {}

speft_status speft_observe_basis(speft_basis *basis, const speft_gradient *gradient, speft_error **error) {
    return guard(error, [&] {
        require(basis, "basis");
        read_gradient(gradient);
        refuse_basis();
    });
}

speft_status speft_fit_basis(speft_basis *basis, const speft_progress *, speft_error **error) {
    return guard(error, [&] {
        require(basis, "basis");
        refuse_basis();
    });
}

speft_status speft_get_basis(speft_basis *basis, speft_tensor *u, speft_tensor *v, speft_error **error) {
    return guard(error, [&] {
        require(basis, "basis");
        require(u, "u");
        require(v, "v");
        refuse_basis();
    });
}

speft_status speft_bind_basis(speft_adapter *adapter, int64_t parameter, speft_basis *, speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        call.position(parameter);
        refuse_basis();
    });
}
