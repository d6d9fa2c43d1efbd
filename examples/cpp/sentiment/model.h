// MiniLM-L6 (any small BERT) with a new classifier head, in libtorch's operations. The encoder's linear layers hand
// their input and output gradient to whoever tunes them, and never form the gradient of a weight.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <torch/types.h>

// What a linear layer's backward pass gives for its weight [out, in]: x [tokens, in] and dy [tokens, out].
using Receiver = std::function<void(std::size_t layer, const torch::Tensor &x, const torch::Tensor &dy)>;

class Classifier {
public:
    // `checkpoint` is a Hugging Face directory with config.json and model.safetensors. The head is drawn from `seed`.
    Classifier(const std::string &checkpoint, std::int64_t labels, std::uint64_t seed);

    // Logits [texts, labels] of token numbers and mask, int64 [texts, tokens].
    torch::Tensor forward(const torch::Tensor &tokens, const torch::Tensor &mask) const;

    // The encoder's matrices, attention and feed-forward: names as in the Python demo, and the tensors.
    const std::vector<std::string> &target_names() const { return target_names_; }
    const torch::Tensor &target(std::size_t layer) const { return weights_.at(target_names_[layer]); }
    // The head and everything else, by name.
    torch::Tensor &weight(const std::string &name) { return weights_.at(name); }
    const std::map<std::string, torch::Tensor> &weights() const { return weights_; }

    // From now on targets are tuned: their (x, dy) go to `receiver`. Empty: the encoder is left as it is.
    void tune_targets(Receiver receiver);

private:
    torch::Tensor linear(const std::string &name, const torch::Tensor &x) const;
    torch::Tensor normalize(const std::string &name, const torch::Tensor &x) const;
    torch::Tensor attend(const std::string &layer, const torch::Tensor &hidden, const torch::Tensor &seen) const;

    std::map<std::string, torch::Tensor> weights_;
    std::vector<std::string> target_names_;
    std::map<std::string, std::size_t> target_numbers_;
    Receiver receiver_;
    std::int64_t layers_ = 0, heads_ = 0;
    double epsilon_ = 0;
};
