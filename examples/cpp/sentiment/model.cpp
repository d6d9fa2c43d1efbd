#include "model.h"

#include <cmath>
#include <stdexcept>

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/grad_mode.h>

#include "safetensors.h"

namespace {

// y = x Wᵀ + b. The weight takes part so that the backward pass comes here even where x needs no gradient, and gets
// none itself: its gradient is never formed.
struct TunedLinear : torch::autograd::Function<TunedLinear> {
    static torch::Tensor forward(torch::autograd::AutogradContext *context, const torch::Tensor &x,
                                 const torch::Tensor &weight, const torch::Tensor &bias, std::int64_t layer,
                                 const Receiver *receiver) {
        context->save_for_backward({x, weight});
        context->saved_data["layer"] = layer;
        context->saved_data["receiver"] = reinterpret_cast<std::int64_t>(receiver);
        return at::linear(x, weight, bias);
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext *context,
                                                   torch::autograd::variable_list slopes) {
        const auto saved = context->get_saved_variables();
        const torch::Tensor &x = saved[0], &weight = saved[1], dy = slopes[0].contiguous();
        const auto *receiver = reinterpret_cast<const Receiver *>(context->saved_data["receiver"].toInt());
        (*receiver)(static_cast<std::size_t>(context->saved_data["layer"].toInt()),
                    x.reshape({-1, x.size(-1)}).contiguous(), dy.view({-1, dy.size(-1)}));
        return {context->needs_input_grad(0) ? dy.matmul(weight) : torch::Tensor(), {}, {}, {}, {}};
    }
};

}  // namespace

Classifier::Classifier(const std::string &checkpoint, std::int64_t labels, std::uint64_t seed) {
    const std::string config = checkpoint + "/config.json";
    layers_ = static_cast<std::int64_t>(read_number(config, "num_hidden_layers"));
    heads_ = static_cast<std::int64_t>(read_number(config, "num_attention_heads"));
    epsilon_ = read_number(config, "layer_norm_eps");
    for (auto &[name, stored] : read_safetensors(checkpoint + "/model.safetensors"))
        if (name.compare(0, 6, "pooler") != 0)
            weights_["encoder." + name] = at::tensor(stored.values).view(stored.shape);
    for (std::int64_t layer = 0; layer < layers_; ++layer)
        for (const char *part : {"attention.self.query", "attention.self.key", "attention.self.value",
                                 "attention.output.dense", "intermediate.dense", "output.dense"}) {
            const std::string name = "encoder.encoder.layer." + std::to_string(layer) + "." + part;
            if (!weights_.count(name + ".weight")) throw std::runtime_error(checkpoint + ": has no " + name);
            target_numbers_[name] = target_names_.size();
            target_names_.push_back(name + ".weight");
        }
    // As torch.nn.Linear draws them.
    at::manual_seed(seed);
    const std::int64_t width = target(0).size(1);
    const double bound = 1 / std::sqrt(static_cast<double>(width));
    weights_["head.weight"] = at::empty({labels, width}).uniform_(-bound, bound);
    weights_["head.bias"] = at::empty({labels}).uniform_(-bound, bound);
    weights_["head.weight"].set_requires_grad(true);
    weights_["head.bias"].set_requires_grad(true);
}

void Classifier::tune_targets(Receiver receiver) {
    receiver_ = std::move(receiver);
    for (const std::string &name : target_names_) weights_.at(name).set_requires_grad(bool(receiver_));
}

torch::Tensor Classifier::linear(const std::string &name, const torch::Tensor &x) const {
    const torch::Tensor &weight = weights_.at(name + ".weight"), &bias = weights_.at(name + ".bias");
    if (!receiver_ || !at::GradMode::is_enabled()) return at::linear(x, weight, bias);
    const auto layer = static_cast<std::int64_t>(target_numbers_.at(name));
    return TunedLinear::apply(x, weight, bias, layer, &receiver_);
}

torch::Tensor Classifier::normalize(const std::string &name, const torch::Tensor &x) const {
    return at::layer_norm(x, {x.size(-1)}, weights_.at(name + ".weight"), weights_.at(name + ".bias"), epsilon_);
}

torch::Tensor Classifier::attend(const std::string &layer, const torch::Tensor &hidden,
                                 const torch::Tensor &seen) const {
    const std::int64_t texts = hidden.size(0), tokens = hidden.size(1), width = hidden.size(2);
    const auto split = [&](const char *part) {
        return linear(layer + "attention.self." + part, hidden)
            .view({texts, tokens, heads_, width / heads_})
            .transpose(1, 2);
    };
    const torch::Tensor found = at::scaled_dot_product_attention(split("query"), split("key"), split("value"), seen);
    return linear(layer + "attention.output.dense", found.transpose(1, 2).reshape({texts, tokens, width}));
}

torch::Tensor Classifier::forward(const torch::Tensor &tokens, const torch::Tensor &mask) const {
    const auto embedding = [&](const char *kind) -> const torch::Tensor & {
        return weights_.at(std::string("encoder.embeddings.") + kind + "_embeddings.weight");
    };
    torch::Tensor hidden = at::embedding(embedding("word"), tokens) + embedding("token_type")[0] +
                           embedding("position").slice(0, 0, tokens.size(1));
    hidden = normalize("encoder.embeddings.LayerNorm", hidden);
    const torch::Tensor weight = mask.unsqueeze(-1).to(hidden.dtype());
    const torch::Tensor seen = mask.to(at::kBool).view({mask.size(0), 1, 1, mask.size(1)});
    for (std::int64_t i = 0; i < layers_; ++i) {
        const std::string layer = "encoder.encoder.layer." + std::to_string(i) + ".";
        hidden = normalize(layer + "attention.output.LayerNorm", attend(layer, hidden, seen) + hidden);
        const torch::Tensor wide = at::gelu(linear(layer + "intermediate.dense", hidden));
        hidden = normalize(layer + "output.LayerNorm", linear(layer + "output.dense", wide) + hidden);
    }
    const torch::Tensor mean = (hidden * weight).sum(1) / weight.sum(1);
    return at::linear(mean, weights_.at("head.weight"), weights_.at("head.bias"));
}
