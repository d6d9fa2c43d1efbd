#include "train.h"

#include <sys/resource.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <speft/speft.hpp>
#include <torch/csrc/autograd/grad_mode.h>
#include <torch/optim/adamw.h>

#include "data.h"
#include "model.h"

namespace {

constexpr std::size_t evaluation_batch = 64;

// Chosen on the Python demo's validation split: examples/python/sentiment/methods.py.
const std::map<std::string, double> learning_rates = {
    {"head-only", 2e-2}, {"random", 1e-2}, {"gradient", 4e-3}, {"spiel-ag", 1e-2}};

struct Inputs {
    torch::Tensor tokens, mask, labels;
};

Inputs make_inputs(const Rows &rows, const Batch &batch) {
    std::size_t longest = 0;
    for (const std::size_t row : batch) longest = std::max(longest, rows.tokens[row].size());
    const auto texts = static_cast<std::int64_t>(batch.size()), length = static_cast<std::int64_t>(longest);
    Inputs inputs = {at::zeros({texts, length}, at::kLong), at::zeros({texts, length}, at::kLong),
                     at::zeros({texts}, at::kLong)};
    for (std::size_t i = 0; i < batch.size(); ++i) {
        const auto &tokens = rows.tokens[batch[i]];
        std::copy(tokens.begin(), tokens.end(), inputs.tokens.mutable_data_ptr<std::int64_t>() + i * longest);
        std::fill_n(inputs.mask.mutable_data_ptr<std::int64_t>() + i * longest, tokens.size(), 1);
        inputs.labels.mutable_data_ptr<std::int64_t>()[i] = rows.labels[batch[i]];
    }
    return inputs;
}

// The logits of all rows, in the rows' order.
torch::Tensor predict(const Classifier &model, const Rows &rows) {
    const torch::NoGradGuard no_gradients;
    torch::Tensor logits = at::empty({static_cast<std::int64_t>(rows.size()), 2});
    for (const Batch &batch : in_order_of_length(rows, evaluation_batch)) {
        const Inputs inputs = make_inputs(rows, batch);
        const torch::Tensor found = model.forward(inputs.tokens, inputs.mask);
        for (std::size_t i = 0; i < batch.size(); ++i)
            logits[static_cast<std::int64_t>(batch[i])] = found[static_cast<std::int64_t>(i)];
    }
    return logits;
}

speft::MutableTensorView view(const torch::Tensor &tensor) {
    return {tensor.mutable_data_ptr<float>(), tensor.sizes().vec()};
}

bool same_bits(const torch::Tensor &one, const torch::Tensor &other) {
    return one.sizes() == other.sizes() && std::memcmp(one.const_data_ptr(), other.const_data_ptr(), one.nbytes()) == 0;
}

bool has_pretrained_bits(const Classifier &model, const Settings &settings) {
    const Classifier fresh(settings.checkpoint, 2, settings.seed);
    for (const auto &[name, weight] : fresh.weights())
        if (!same_bits(weight, model.weights().at(name))) return false;
    return true;
}

// libspeft on libtorch's threads: those of a pool beside them would wait for a core while OpenMP's spin.
speft::Context make_context() {
    speft::ContextOptions options;
    options.parallel_for = speft::ParallelFor{
        at::get_num_threads(), [](std::int64_t count, const std::function<void(std::int64_t)> &body) {
            at::parallel_for(0, count, 1, [&](std::int64_t begin, std::int64_t end) {
                for (std::int64_t index = begin; index < end; ++index) body(index);
            });
        }};
    return speft::Context(options);
}

// What is trained, and how a step is taken from the gradients of a backward pass.
class Method {
public:
    virtual ~Method() = default;
    // Chooses masks by the losses of a few batches, where the method needs any.
    virtual void prepare(const std::function<torch::Tensor(std::size_t)> &, std::size_t) {}
    virtual void step(double share_of_learning_rate) = 0;
    virtual void save(const std::string &folder) = 0;
    virtual std::int64_t trained() const = 0;
    virtual double density() const { return 0; }
    virtual void unmerge() {}
};

class HeadOnly : public Method {
public:
    HeadOnly(Classifier &model, double learning_rate)
        : model_(model), rate_(learning_rate),
          optimizer_(std::vector<torch::Tensor>{model.weight("head.weight"), model.weight("head.bias")},
                     torch::optim::AdamWOptions(learning_rate).weight_decay(0)) {}

    void step(double share) override {
        optimizer_.param_groups()[0].options().set_lr(rate_ * share);
        optimizer_.step();
        optimizer_.zero_grad();
    }
    std::int64_t trained() const override {
        return model_.weight("head.weight").numel() + model_.weight("head.bias").numel();
    }
    void save(const std::string &folder) override {
        std::ofstream file(folder + "/adapter.bin", std::ios::binary);
        for (const char *name : {"head.weight", "head.bias"})
            file.write(static_cast<const char *>(model_.weight(name).const_data_ptr()),
                       static_cast<std::streamsize>(model_.weight(name).nbytes()));
        if (!file.flush()) throw std::runtime_error(folder + "/adapter.bin: cannot be written");
    }

private:
    Classifier &model_;
    double rate_;
    torch::optim::AdamW optimizer_;
};

class Sparse : public Method {
public:
    Sparse(Classifier &model, const std::string &name, const Settings &settings)
        : model_(model), rate_(learning_rates.at(name)), by_gradients_(name == "gradient"), moves_(name == "spiel-ag"),
          product_(settings.product), context_(make_context()) {
        speft::AdapterOptions options;
        options.selection.method = speft::from_name<speft::Method>(name);
        options.selection.density = settings.density;
        options.selection.seed = settings.seed;
        if (moves_) {  // SpIEL starts with the same share of each matrix
            options.selection.scope = speft::Scope::per_tensor;
            options.selection.schedule.emplace();
            options.selection.schedule->total_steps = static_cast<std::int64_t>(settings.steps);
        }
        std::vector<speft::Parameter> parameters;
        for (std::size_t i = 0; i < model.target_names().size(); ++i)
            parameters.push_back({model.target_names()[i], model.target(i).sizes().vec()});
        for (const char *head : {"head.weight", "head.bias"}) {
            parameters.push_back({head, model.weight(head).sizes().vec()});
            parameters.back().role = speft::Role::dense;
        }
        adapter_ = speft::Adapter(context_, parameters, options);
        for (const speft::Parameter &parameter : parameters)
            adapter_.bind(adapter_.position(parameter.name), view(model.weight(parameter.name)));
        // Called in the backward pass, layer by layer; x and dy are free again when it returns.
        model.tune_targets([this](std::size_t layer, const torch::Tensor &x, const torch::Tensor &dy) {
            const auto gradient = speft::Gradient::activations(view(x), view(dy));
            if (adapter_.state().selected)
                adapter_.accumulate(static_cast<std::int64_t>(layer), gradient);
            else
                adapter_.observe(static_cast<std::int64_t>(layer), gradient);
        });
    }

    void prepare(const std::function<torch::Tensor(std::size_t)> &loss, std::size_t count) override {
        if (by_gradients_) {
            if (!product_.empty()) context_.set_implementation("add_product", product_);
            for (std::size_t i = 0; i < count; ++i) {
                adapter_.begin_observation(1);
                loss(i).backward();
                adapter_.finish_observation();
                for (const char *head : {"head.weight", "head.bias"}) model_.weight(head).mutable_grad().reset();
            }
            if (!product_.empty()) context_.set_implementation("add_product", std::nullopt);
        }
        adapter_.select();
    }

    void step(double share) override {
        for (const char *head : {"head.weight", "head.bias"}) {
            torch::Tensor &gradient = model_.weight(head).mutable_grad();
            adapter_.accumulate(adapter_.position(head), speft::Gradient::dense(view(gradient.contiguous())));
            gradient.reset();
        }
        speft::Hyperparameters all;
        all.learning_rate = rate_ * share;
        adapter_.step(all);
        if (moves_) adapter_.reselect();  // which does nothing unless one is due
    }

    void save(const std::string &folder) override { adapter_.save(folder + "/adapter.safetensors"); }
    std::int64_t trained() const override { return adapter_.state().trained_scalars; }
    double density() const override {
        const speft::AdapterState state = adapter_.state();
        return static_cast<double>(state.selected_scalars) / static_cast<double>(state.targeted_scalars);
    }
    void unmerge() override { adapter_.unmerge(); }

private:
    Classifier &model_;
    double rate_;
    bool by_gradients_, moves_;
    std::string product_;
    speft::Context context_;
    speft::Adapter adapter_;
};

std::unique_ptr<Method> make_method(const std::string &name, Classifier &model, const Settings &settings) {
    if (name == "head-only") return std::make_unique<HeadOnly>(model, learning_rates.at(name));
    return std::make_unique<Sparse>(model, name, settings);
}

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::int64_t peak_memory() {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss * 1024;
}

void write_figures(const std::string &path, const std::vector<std::pair<std::string, double>> &figures) {
    std::ofstream file(path);
    file.precision(17);
    for (const auto &[key, value] : figures) file << key << ' ' << value << '\n';
    if (!file.flush()) throw std::runtime_error(path + ": cannot be written");
}

std::string logits_path(const Settings &settings, const std::string &name) {
    return settings.folder_of(name) + "/logits.bin";
}

}  // namespace

bool is_method(const std::string &name) { return learning_rates.count(name) > 0; }
bool is_sparse(const std::string &name) { return name != "head-only"; }

void train(const Settings &settings, const std::string &name) {
    const Tokenizer tokenizer(settings.checkpoint + "/vocab.txt", settings.max_tokens);
    const Dataset dataset = load_dataset(settings.data, settings.max_rows, tokenizer);
    Classifier model(settings.checkpoint, 2, settings.seed);
    const std::unique_ptr<Method> method = make_method(name, model, settings);
    const auto batches = [&](const std::string &purpose, std::size_t count) {
        return shuffled(dataset.train, count, settings.batch_size, purpose + " " + std::to_string(settings.seed));
    };
    const auto loss_of = [&](const Batch &batch) {
        const Inputs inputs = make_inputs(dataset.train, batch);
        return at::cross_entropy_loss(model.forward(inputs.tokens, inputs.mask), inputs.labels);
    };

    const double begun = now();
    const std::vector<Batch> estimation = batches("salience", settings.salience_batches);
    method->prepare([&](std::size_t i) { return loss_of(estimation[i]); }, estimation.size());
    const double prepared = now();
    const std::vector<Batch> training = batches("training", settings.steps);
    for (std::size_t step = 0; step < training.size(); ++step) {
        const torch::Tensor loss = loss_of(training[step]);
        loss.backward();
        // The learning rate falls linearly to zero.
        method->step(1 - static_cast<double>(step) / static_cast<double>(settings.steps));
        if (step % 20 == 0 || step + 1 == training.size())
            std::cout << name << ": step " << step + 1 << " of " << training.size() << ", loss " << loss.item<float>()
                      << std::endl;
    }
    const double stepped = now();
    const std::int64_t peak = peak_memory();

    const torch::Tensor logits = predict(model, dataset.held_out);
    const torch::Tensor labels = at::tensor(dataset.held_out.labels);
    std::ofstream file(logits_path(settings, name), std::ios::binary);
    file.write(static_cast<const char *>(logits.const_data_ptr()), static_cast<std::streamsize>(logits.nbytes()));
    if (!file.flush()) throw std::runtime_error(logits_path(settings, name) + ": cannot be written");
    method->save(settings.folder_of(name));
    const std::string saved = settings.folder_of(name) + (is_sparse(name) ? "/adapter.safetensors" : "/adapter.bin");
    std::vector<std::pair<std::string, double>> figures = {
        {"accuracy", logits.argmax(1).eq(labels).to(at::kDouble).mean().item<double>()},
        {"loss", at::cross_entropy_loss(logits, labels).item<double>()},
        {"trained", static_cast<double>(method->trained())},
        {"density", method->density()},
        {"adapter_bytes", static_cast<double>(std::filesystem::file_size(saved))},
        {"seconds_preparing", prepared - begun},
        {"seconds_per_step", (stepped - prepared) / static_cast<double>(settings.steps)},
        {"peak_rss_bytes", static_cast<double>(peak)},
        {"training_texts", static_cast<double>(dataset.train.size())},
        {"held_out", static_cast<double>(dataset.held_out.size())}};
    if (is_sparse(name)) {
        method->unmerge();
        figures.emplace_back("unmerge_bit_exact", has_pretrained_bits(model, settings));
    }
    write_figures(settings.folder_of(name) + "/result.txt", figures);
}

void verify(const Settings &settings, const std::string &name) {
    const Tokenizer tokenizer(settings.checkpoint + "/vocab.txt", settings.max_tokens);
    const Dataset dataset = load_dataset(settings.data, settings.max_rows, tokenizer);
    Classifier model(settings.checkpoint, 2, settings.seed);
    speft::Context context = make_context();
    speft::Adapter adapter = speft::Adapter::load(context, settings.folder_of(name) + "/adapter.safetensors");
    for (const speft::Parameter &parameter : adapter.parameters())
        adapter.bind(adapter.position(parameter.name), view(model.weight(parameter.name)));
    adapter.merge();
    const torch::Tensor logits = predict(model, dataset.held_out);
    torch::Tensor trained = at::empty_like(logits);
    std::ifstream file(logits_path(settings, name), std::ios::binary);
    if (!file.read(static_cast<char *>(trained.mutable_data_ptr()), static_cast<std::streamsize>(trained.nbytes())))
        throw std::runtime_error(logits_path(settings, name) + ": cannot be read");
    adapter.unmerge();
    write_figures(settings.folder_of(name) + "/verified.txt",
                  {{"reload_identical", same_bits(logits, trained)},
                   {"unmerge_bit_exact", has_pretrained_bits(model, settings)}});
}
