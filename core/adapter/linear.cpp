// Products with W + Δ where Δ is not in the weights: of parameters in a basis, and of an adapter that is unmerged.
#include "core/adapter/adapter.h"

#include "core/base/status.h"

namespace speft {

void Adapter::apply(std::size_t parameter, Factor weight_is, const TensorView &inputs, const TensorView &outputs,
                    bool delta_only, Into into) {
    const Training &state = training();
    const Parameter &declared = declared_[parameter];
    const BasisFactors *const in = basis(parameter);
    if (declared.role == Role::dense)
        refuse("'" + declared.name + "' is a dense parameter: it is trained as values, in the weights alone");
    if (in ? residence_ == Residence::merged : residence_ != Residence::unmerged)
        refuse_state("the delta of '" + declared.name +
                     "' is in the weights: their own product has it, until speft_unmerge" +
                     (in ? " or speft_attach" : ""));
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
    if (!delta_only && !bound_[parameter])
        refuse_state("the weights of '" + declared.name + "' are not bound: call speft_bind_weights");
    if (!delta_only && !state.originals_known)
        refuse_state("whether the weights of '" + declared.name +
                     "' are those that the adapter was trained on is not known yet: call " +
                     (any_basis_ ? "speft_attach" : "speft_merge, then speft_unmerge,") +
                     " on the loaded adapter first");

    if (outputs.size == 0) return;
    const SparseMatrix delta = delta_matrix(state, parameter);
    const Into then = delta_only ? into : Into::add;
    // All that needs memory comes before anything is written to the outputs.
    const auto run_after_weight = [&](const auto &product) {
        if (delta_only)
            device().run(product);
        else
            device().run_all(make_product(inputs, weights_[parameter], declared.type, weight_is, outputs, into),
                             product);
    };
    if (!in) {
        run_after_weight(make_product(inputs, delta, weight_is, outputs, then));
        return;
    }
    if (in->applies_cheaper(static_cast<std::uint64_t>(tokens), delta)) {
        const Buffer<float> applied = in->apply(device(), delta, weight_is, inputs);
        run_after_weight(in->turn_back(device(), applied, weight_is, outputs, then));
        return;
    }
    const Buffer<float> turned = in->turn_back(device(), delta);
    if (!delta_only) {  // W + Δ in one product
        speft_add_values add{};
        add.sums = turned.data();
        add.source = weights_[parameter];
        add.count = declared.size;
        add.source_type = static_cast<std::int32_t>(declared.type);
        add.scale = add.weight = 1;
        device().run(add);
    }
    multiply(device(), inputs, turned.data(), ScalarType::float32, weight_is, outputs, into);
}

}  // namespace speft
