#include "speft/basis.h"

#include <numeric>

#include "capi/src/guard.h"
#include "capi/src/handles.h"
#include "capi/src/options.h"
#include "capi/src/views.h"

using namespace speft;

namespace {

// The share of all eigenvalues that those of the kept vectors have; rounding may leave small ones below 0.
double share_of(const Basis::Side &side) {
    const auto sum = [&](std::uint64_t count) {
        return std::accumulate(side.values.begin(), side.values.begin() + static_cast<std::ptrdiff_t>(count), 0.0);
    };
    return side.kept == side.size ? 1 : sum(side.kept) / sum(side.size);
}

speft_tensor lend(Basis &basis, const Buffer<float> &vectors, Basis::Side &side) {
    return {vectors.data(), basis.context().device().location(), 2, dtype_of(ScalarType::float32), side.shape,
            nullptr, 0};
}

}  // namespace

void speft_basis_options_init(speft_basis_options *options, uint32_t size) { init_struct(options, size, {}); }

speft_status speft_create_basis(speft_context *context, const speft_basis_options *options, speft_basis **basis,
                                speft_error **error) {
    return guard(error, [&] {
        ContextCall call(context);
        require(basis, "basis");
        *basis = new speft_basis{std::make_shared<Basis>(call.context(), read_basis_options(options, "basis options"))};
    });
}

void speft_destroy_basis(speft_basis *basis) { delete basis; }

speft_status speft_observe_basis(speft_basis *basis, const speft_gradient *gradient, speft_error **error) {
    return guard(error, [&] {
        BasisCall call(basis);
        call->observe(read_gradient(gradient));
    });
}

speft_status speft_fit_basis(speft_basis *basis, const speft_progress *progress, speft_error **error) {
    return guard(error, [&] {
        BasisCall call(basis);
        speft_progress copy;
        call->fit(read_progress(progress, copy));
    });
}

speft_status speft_get_basis(speft_basis *basis, speft_tensor *u, speft_tensor *v, speft_error **error) {
    return guard(error, [&] {
        BasisCall call(basis);
        require(u, "u");
        require(v, "v");
        const BasisFactors &factors = *call->factors();
        *u = lend(*call, factors.u(), call->columns());
        *v = lend(*call, factors.v(), call->rows());
    });
}

speft_status speft_get_basis_state(speft_basis *basis, speft_basis_state *state, speft_error **error) {
    return guard(error, [&] {
        BasisCall call(basis);
        speft_basis_state values{};
        values.observations = call->observations();
        if (call->fitted()) {
            const Basis::Side &rows = call->rows(), &columns = call->columns();
            values.fitted = 1;
            values.row_directions = static_cast<std::int64_t>(rows.directions());
            values.column_directions = static_cast<std::int64_t>(columns.directions());
            values.row_share = share_of(rows);
            values.column_share = share_of(columns);
        }
        write_struct(state, "basis state", values);
    });
}

speft_status speft_leave_bases(speft_adapter *adapter, double density, speft_adapter **ordinary, double *share,
                               speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        if (!ordinary && !share) refuse("ordinary and share must not both be NULL");
        const Adapter::Ordinary left = call->leave_bases(density);
        if (ordinary) *ordinary = new speft_adapter{std::make_shared<Adapter>(call->shared_context(), left.record)};
        if (share) *share = left.share;
    });
}

speft_status speft_bind_basis(speft_adapter *adapter, int64_t parameter, speft_basis *basis, speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        const std::size_t position = call.position(parameter);
        if (!basis) {
            call->bind_basis(position, nullptr);
            return;
        }
        if (&basis->inner->context() != &call->context())
            refuse("basis must be of the adapter's context; got one of another");
        call->bind_basis(position, basis->inner->factors());
    });
}
