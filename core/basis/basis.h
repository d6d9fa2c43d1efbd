// A basis in which the gradients of one kind of matrix are sparse: SparseGrad (Chekalina et al. 2024, section 3.1).
// The factors of a higher-order singular value decomposition of the stack of gradients are the eigenvectors of Σ G Gᵀ
// and of Σ Gᵀ G: these are added up, and no stack is kept.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/adapter/context.h"
#include "core/adapter/gradient.h"
#include "core/adapter/parameter.h"
#include "core/backend/buffer.h"
#include "core/basis/basis_factors.h"

namespace speft {

class Basis {
public:
    Basis(std::shared_ptr<Context> context, const BasisShape &shape);

    Context &context() const { return *context_; }

    void observe(const Gradient &gradient);
    // INVALID_STATE while an adapter trains in it.
    void fit(const speft_progress *progress);

    // One side of it.
    struct Side {
        std::uint64_t size = 0;
        std::uint64_t kept = 0;         // vectors
        Buffer<float> gram;             // [size, size], on and below the diagonal
        std::vector<double> values;     // [size], falling; once fitted
        std::int64_t shape[2] = {};     // of the vectors: [kept, size]
        std::uint64_t directions() const;  // that the gradients span, within float32
    };
    bool fitted() const { return fitted_; }
    std::int64_t observations() const { return observations_; }
    // Throws INVALID_STATE before the fit.
    Side &rows();
    Side &columns();
    const std::shared_ptr<BasisFactors> &factors() const;

private:
    Device &device() const { return context_->device(); }
    void require_fitted() const;

    std::shared_ptr<Context> context_;  // first: buffers go before their device
    Parameter matrix_;                  // what a gradient has to be of
    Buffer<float> gradient_;            // [rows, columns]
    Side rows_, columns_;               // of V, of U
    std::shared_ptr<BasisFactors> factors_;
    std::int64_t observations_ = 0;
    bool fitted_ = false;
};

}  // namespace speft
