#include "core/basis/basis.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "core/base/progress.h"
#include "core/base/status.h"

namespace speft {
namespace {

Basis::Side make_side(std::uint64_t size, std::uint64_t kept) {
    Basis::Side side;
    side.size = size;
    side.kept = kept;
    side.shape[0] = static_cast<std::int64_t>(kept);
    side.shape[1] = static_cast<std::int64_t>(size);
    return side;
}

}  // namespace

std::uint64_t Basis::Side::directions() const {
    // Sums in float32 of squares: what is below this share of the largest eigenvalue is rounding.
    const double least = values.front() * static_cast<double>(size) * std::numeric_limits<float>::epsilon();
    return static_cast<std::uint64_t>(
        std::find_if(values.begin(), values.end(), [least](double value) { return value <= least; }) - values.begin());
}

Basis::Basis(std::shared_ptr<Context> context, const BasisShape &shape)
    : context_(std::move(context)),
      rows_(make_side(shape.rows, shape.row_directions)),
      columns_(make_side(shape.columns, shape.column_directions)) {
    matrix_.name = "basis";
    matrix_.shape = {rows_.shape[1], columns_.shape[1]};
    matrix_.size = rows_.size * columns_.size;
}

void Basis::observe(const Gradient &gradient) {
    if (gradient.kind == SPEFT_GRADIENT_VALUES)
        refuse("gradient of 'basis': VALUES belong to a mask; DENSE or ACTIVATIONS are needed");
    check_gradient(gradient, matrix_, device(), 0);
    require_gradient(gradient, matrix_);
    // Everything that may fail for want of memory comes before the sums change.
    if (!gradient_) gradient_ = Buffer<float>(device(), matrix_.size);
    for (Side *side : {&rows_, &columns_})
        if (!side->gram) side->gram = Buffer<float>::zeros(device(), side->size * side->size);
    device().zero(gradient_.data(), matrix_.size * sizeof(float));
    add_gradient(device(), {gradient_.data(), nullptr, matrix_.size}, gradient, 1.0);
    double squares = 0;
    const float *const values = gradient_.data();
    device().run(speft_sum_squares{&values, &matrix_.size, 1, &squares});
    if (!std::isfinite(squares)) refuse("gradient of 'basis': it has a NaN or an infinity, or its squares overflow");
    speft_add_gram products{};
    products.matrix = gradient_.data();
    products.rows = rows_.size;
    products.columns = columns_.size;
    products.factor = 1;
    products.gram = columns_.gram.data();
    products.of_columns = 1;
    speft_add_gram row_products = products;
    row_products.gram = rows_.gram.data();
    row_products.of_columns = 0;
    // What needs the most scratch runs first: where there is not enough, neither sum has changed.
    if (device().scratch_bytes(row_products) > device().scratch_bytes(products)) std::swap(products, row_products);
    device().run(products);
    device().run(row_products);
    ++observations_;
    fitted_ = false;
}

void Basis::fit(const speft_progress *progress) {
    if (observations_ == 0) refuse_state("the basis has observed no gradient: speft_observe_basis comes first");
    if (factors_ && factors_.use_count() > 1)
        refuse_state("an adapter trains in the basis: it cannot be fitted again while there is one");
    constexpr std::int64_t sides = 2;
    std::int64_t done = 0;
    ProgressMeter meter(progress, sides, "fitting", "the basis");
    Buffer<float> found[sides];
    std::vector<double> values[sides];
    Side *const both[sides] = {&rows_, &columns_};
    for (Side *side : both) {
        found[done] = Buffer<float>(device(), side->kept * side->size);
        values[done].resize(side->size);
        device().run(speft_find_eigenvectors{side->gram.data(), side->size, side->kept, found[done].data(),
                                             values[done].data()});
        if (!(values[done].front() > 0))
            refuse("the basis has observed " + std::to_string(observations_) +
                   " gradients, and all of them are 0 (or so small that their squares are)");
        ++done;
        meter.advance(1);
    }
    if (!factors_)
        factors_ = std::make_shared<BasisFactors>(
            device(), BasisShape{rows_.size, columns_.size, rows_.kept, columns_.kept});
    factors_->fill(device(), found[1].data(), found[0].data());
    for (std::int64_t i = 0; i < sides; ++i) both[i]->values = std::move(values[i]);
    device().release_scratch();
    fitted_ = true;
}

void Basis::require_fitted() const {
    if (!fitted_)
        refuse_state(observations_ == 0
                         ? "the basis is not fitted: speft_fit_basis comes first"
                         : "the basis has observed gradients that are not in it yet: speft_fit_basis again");
}

const std::shared_ptr<BasisFactors> &Basis::factors() const {
    require_fitted();
    return factors_;
}

Basis::Side &Basis::rows() {
    require_fitted();
    return rows_;
}

Basis::Side &Basis::columns() {
    require_fitted();
    return columns_;
}

}  // namespace speft
