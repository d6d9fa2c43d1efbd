// Products with W + Δ where Δ is not in the weights: of parameters that are trained beside them, and of an adapter
// that is unmerged.
#include "core/adapter/adapter.h"

#include "core/base/status.h"
#include "core/quantization/quantized_product.h"

namespace speft {

void Adapter::check_apply(std::size_t parameter, Factor weight_is, const TensorView &inputs,
                          const TensorView &outputs, bool delta_only) const {
    const Training &state = training();
    const Parameter &declared = declared_[parameter];
    if (declared.role == Role::dense)
        refuse("'" + declared.name + "' is a dense parameter: it is trained as values, in the weights alone");
    const bool is_beside = beside(parameter);
    if (is_beside ? residence_ == Residence::merged : residence_ != Residence::unmerged)
        refuse_state("the delta of '" + declared.name +
                     "' is in the weights: their own product has it, until speft_unmerge" +
                     (is_beside ? " or speft_attach" : ""));
    if (declared.shape.size() != 2)
        refuse("'" + declared.name + "' has shape " + describe(declared.shape) +
               ": a linear layer's weight has 2 axes");
    const bool transposed = weight_is == Factor::transposed;
    const std::int64_t from = declared.shape[transposed ? 1 : 0], to = declared.shape[transposed ? 0 : 1];
    const std::int64_t tokens = inputs.shape.size() == 2 ? inputs.shape[0] : 0;
    const auto check = [&](const TensorView &tensor, std::int64_t features, const char *what) {
        const std::string name = "the " + std::string(what) + " of '" + declared.name + "'";
        if (tensor.shape != Shape{tokens, features})
            refuse(name + " must have shape " + describe(Shape{tokens, features}) + "; got " + describe(tensor.shape));
        scalar_type_of(tensor, name);
        if (!device().holds(tensor.device))
            refuse(name + " must be on " + describe(device().location()) + "; got " + describe(tensor.device));
    };
    check(inputs, from, "inputs");
    check(outputs, to, "outputs");
    if (!delta_only && !weights_[parameter].present())
        refuse_state("the weights of '" + declared.name + "' are not bound: call speft_bind_weights");
    if (!delta_only && !state.originals_known)
        refuse_state("whether the weights of '" + declared.name +
                     "' are those that the adapter was trained on is not known yet: call " +
                     (any_beside() ? "speft_attach" : "speft_merge, then speft_unmerge,") +
                     " on the loaded adapter first");
}

void Adapter::apply_weight(std::size_t parameter, Factor weight_is, const TensorView &inputs,
                           const TensorView &outputs, Into into) {
    if (outputs.size == 0) return;
    const Parameter &declared = declared_[parameter];
    const BoundWeights &weights = weights_[parameter];
    if (weights.quantized()) {
        SparseMatrix none;
        none.rows = static_cast<std::uint64_t>(declared.shape[0]);
        none.columns = static_cast<std::uint64_t>(declared.shape[1]);
        device().run(make_product(inputs, *weights.quantized(), none, weight_is, outputs, into));
    } else {
        multiply(device(), inputs, weights.dense(), declared.type, weight_is, outputs, into);
    }
}

void Adapter::apply(std::size_t parameter, Factor weight_is, const TensorView &inputs, const TensorView &outputs,
                    bool delta_only, Into into) {
    check_apply(parameter, weight_is, inputs, outputs, delta_only);
    if (outputs.size == 0) return;
    const Training &state = training();
    const Parameter &declared = declared_[parameter];
    const BasisFactors *const in = basis(parameter);
    const BoundWeights &weights = weights_[parameter];
    const SparseMatrix delta = delta_matrix(state.active, parameter);
    const Into then = delta_only ? into : Into::add;
    // All that needs memory comes before anything is written to the outputs.
    const auto run_after_weight = [&](const auto &...products) {
        if (delta_only)
            device().run_all(products...);
        else
            device().run_all(make_product(inputs, weights.dense(), declared.type, weight_is, outputs, into),
                             products...);
    };
    if (!in) {
        const SparseMatrix settled = delta_matrix(state.settled, parameter);
        const auto run_with_settled = [&](const auto &run, const auto &product) {
            if (settled.mask.count == 0)
                run(product);
            else
                run(product, make_product(inputs, settled, weight_is, outputs, Into::add));
        };
        if (weights.quantized() && !delta_only)
            run_with_settled([&](const auto &...products) { device().run_all(products...); },
                             make_product(inputs, *weights.quantized(), delta, weight_is, outputs, into));
        else
            run_with_settled(run_after_weight, make_product(inputs, delta, weight_is, outputs, then));
        return;
    }
    if (in->applies_cheaper(static_cast<std::uint64_t>(inputs.shape[0]), delta)) {
        const Buffer<float> applied = in->apply(device(), delta, weight_is, inputs);
        run_after_weight(in->turn_back(device(), applied, weight_is, outputs, then));
        return;
    }
    const Buffer<float> turned = in->turn_back(device(), delta);
    if (!delta_only) {  // W + Δ in one product
        speft_add_values add{};
        add.sums = turned.data();
        add.source = weights.dense();
        add.count = declared.size;
        add.source_type = static_cast<std::int32_t>(declared.type);
        add.scale = add.weight = 1;
        device().run(add);
    }
    multiply(device(), inputs, turned.data(), ScalarType::float32, weight_is, outputs, into);
}

}  // namespace speft
