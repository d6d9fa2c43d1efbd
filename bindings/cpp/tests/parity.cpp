// The cases that the C ABI has recorded (tests/parity/README.md), played through this header: equal to the bit.
#include "host.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include <unistd.h>

using namespace speft;

namespace {

[[noreturn]] void give_up(const std::string &why) { throw std::runtime_error(why); }

// The words of one command: those before any '=' in order, the others by key. Each is asked for once.
class Words {
public:
    explicit Words(const std::string &line) {
        std::istringstream words(line);
        for (std::string word; words >> word;) {
            const std::size_t equals = word.find('=');
            if (equals == std::string::npos)
                plain_.push_back(word);
            else
                keyed_[word.substr(0, equals)] = word.substr(equals + 1);
        }
    }
    std::string next() {
        if (at_ == plain_.size()) give_up("a word is missing");
        return plain_[at_++];
    }
    std::string key(const std::string &name) {
        const auto found = keyed_.find(name);
        if (found == keyed_.end()) give_up("the key " + name + " is missing");
        const std::string value = found->second;
        keyed_.erase(found);
        return value;
    }
    bool has(const std::string &name) const { return keyed_.count(name) > 0; }
    std::int64_t integer(const std::string &name) { return std::stoll(key(name)); }
    double number(const std::string &name) { return std::stod(key(name)); }
    template <class Enum>
    Enum named(const std::string &name) {
        return from_name<Enum>(key(name));
    }
    void finish() const {
        if (at_ != plain_.size()) give_up("unknown word " + plain_[at_]);
        if (!keyed_.empty()) give_up("unknown key " + keyed_.begin()->first);
    }

private:
    std::vector<std::string> plain_;
    std::map<std::string, std::string> keyed_;
    std::size_t at_ = 0;
};

using Bytes = std::vector<std::uint8_t>;

// The memory of quantized weights.
struct Codes {
    WeightsKind kind;
    std::int32_t block, absmax_block;
    Bytes codes, absmax, absmax_absmax, absmax_offset;
    Shape shape;

    QuantizedWeights view() {
        const auto size = [](const Bytes &bytes, std::size_t width) {
            return Shape{static_cast<std::int64_t>(bytes.size() / width)};
        };
        if (kind == WeightsKind::int8)
            return {kind, {codes.data(), Dtype::int8, shape}, block, {absmax.data(), Dtype::float32, size(absmax, 4)}};
        QuantizedWeights weights{kind, codes, block, absmax};
        weights.absmax_absmax.emplace(absmax_absmax.data(), Dtype::float32, size(absmax_absmax, 4));
        weights.absmax_offset.emplace(absmax_offset.data(), Dtype::float32, size(absmax_offset, 4));
        weights.absmax_block = absmax_block;
        return weights;
    }
};

class Player {
public:
    explicit Player(std::filesystem::path folder) : folder_(std::move(folder)) {}

    void play() {
        std::ifstream file(folder_ / "case.txt");
        if (!file) give_up("there is no case.txt");
        int number = 0;
        for (std::string line; std::getline(file, line);) {
            ++number;
            BOOST_TEST_CONTEXT("line " << number << ": " << line) {
                Words words(line);
                const std::string command = words.next();
                run(command, words);
                words.finish();
            }
        }
        BOOST_TEST(number > 10);
    }

private:
    void run(const std::string &command, Words &words) {
        if (command == "context") {
            ContextOptions options;
            options.threads = static_cast<std::int32_t>(words.integer("threads"));
            context_ = Context(options);
        } else if (command == "parameter") {
            declare(words);
        } else if (command == "selection") {
            read_selection(words);
        } else if (command == "schedule") {
            read_schedule(words);
        } else if (command == "optimizer") {
            options_.optimizer = OptimizerOptions{words.named<Optimizer>("kind"), words.named<Age>("age"),
                                                  words.named<State>("state")};
            options_.delta_type = words.named<DeltaType>("delta_type");
        } else if (command == "create") {
            adapter_ = Adapter(context_, parameters_, options_);
            weights_.resize(parameters_.size());
        } else if (command == "bind") {
            const std::int64_t parameter = position(words);
            weights_[index(parameter)] = read(words.next());
            bind(parameter);
        } else if (command == "bind-quantized") {
            const std::int64_t parameter = position(words);
            codes_[parameter] = read_codes(parameter, words);
            bind(parameter);
        } else if (command == "mask") {
            const std::int64_t parameter = position(words);
            adapter_.set_mask(parameter, read_indices(words.next()));
        } else if (command == "scores") {
            const std::int64_t parameter = position(words);
            const Bytes scores = read(words.next());
            adapter_.set_scores(parameter, TensorView(scores.data(), Dtype::float32, shape(parameter)));
        } else if (command == "reference") {
            const std::int64_t parameter = position(words);
            const Bytes original = read(words.next());
            adapter_.set_reference(parameter, TensorView(original.data(), dtype(parameter), shape(parameter)));
        } else if (command == "basis") {
            const std::int64_t parameter = position(words);
            const Shape &whole = shape(parameter);
            bases_[parameter] = Basis(context_, {whole.at(0), whole.at(1), words.integer("row_directions"),
                                                 words.integer("column_directions")});
        } else if (command == "observe-basis") {
            with_gradient(words, [&](std::int64_t p, const Gradient &gradient) { bases_.at(p).observe(gradient); });
        } else if (command == "fit-basis") {
            bases_.at(position(words)).fit();
        } else if (command == "bind-basis") {
            const std::int64_t parameter = position(words);
            adapter_.bind_basis(parameter, bases_.at(parameter));
        } else if (command == "begin") {
            adapter_.begin_observation(std::stod(words.next()));
        } else if (command == "finish") {
            adapter_.finish_observation(std::stod(words.next()));
        } else if (command == "observe") {
            with_gradient(words, [&](std::int64_t p, const Gradient &gradient) { adapter_.observe(p, gradient); });
        } else if (command == "accumulate") {
            with_gradient(words, [&](std::int64_t p, const Gradient &gradient) { adapter_.accumulate(p, gradient); });
        } else if (command == "select") {
            adapter_.select();
        } else if (command == "clip") {
            adapter_.clip_gradient(std::stod(words.next()));
        } else if (command == "step") {
            step(words);
        } else if (command == "reselect") {
            adapter_.reselect();
        } else if (command == "attach") {
            adapter_.attach();
        } else if (command == "merge") {
            adapter_.merge();
        } else if (command == "unmerge") {
            adapter_.unmerge();
        } else if (command == "reload") {
            reload(from_name<Format>(words.next()));
        } else if (command == "checkpoint") {
            std::stringstream stream;
            adapter_.save_checkpoint(stream);
            adapter_.close();
            adapter_ = Adapter::load_checkpoint(context_, stream);
            bind_all();
            adapter_.merge();
        } else {
            expect(command, words);
        }
    }

    void declare(Words &words) {
        Parameter parameter;
        parameter.name = words.key("name");
        parameter.role = words.named<Role>("role");
        parameter.dtype = words.named<Dtype>("dtype");
        std::istringstream extents(words.key("shape"));
        for (std::string extent; std::getline(extents, extent, ',');) parameter.shape.push_back(std::stoll(extent));
        parameters_.push_back(parameter);
    }

    void read_selection(Words &words) {
        SelectionOptions &selection = options_.selection;
        selection.method = words.named<Method>("method");
        selection.scope = words.named<Scope>("scope");
        selection.random = words.named<Random>("random");
        selection.density = words.number("density");
        selection.budget = words.integer("budget");
        selection.rank = words.integer("rank");
        selection.seed = std::stoull(words.key("seed"));
        selection.model_scalars = words.integer("model_scalars");
        selection.approximation_rank = words.integer("approximation_rank");
        selection.mean = words.named<Mean>("mean");
        selection.threshold = words.number("threshold");
    }

    void read_schedule(Words &words) {
        ScheduleOptions schedule;
        schedule.schedule = words.named<Schedule>("schedule");
        schedule.total_steps = words.integer("total_steps");
        schedule.reselect_every = words.integer("reselect_every");
        schedule.window = words.integer("window");
        schedule.rate = words.number("rate");
        schedule.candidates = words.integer("candidates");
        schedule.drop = words.named<Drop>("drop");
        schedule.keep_moments = words.integer("keep_moments") != 0;
        schedule.settled_limit = words.integer("settled_limit");
        schedule.track_moves = words.integer("track_moves") != 0;
        options_.selection.schedule = schedule;
    }

    template <class Use>
    void with_gradient(Words &words, Use &&use) {
        const std::int64_t parameter = position(words);
        const std::string form = words.next();
        if (form == "dense") {
            const Bytes values = read(words.next());
            use(parameter, Gradient::dense(TensorView(values.data(), dtype(parameter), shape(parameter))));
        } else if (form == "values") {
            const Bytes values = read(words.next());
            const auto count = static_cast<std::int64_t>(values.size() / sizeof(float));
            use(parameter, Gradient::values(TensorView(values.data(), Dtype::float32, {count})));
        } else if (form == "activations") {
            const std::int64_t tokens = words.integer("tokens");
            const double scale = words.number("scale");
            const Layout layout = words.named<Layout>("layout");
            const Bytes x = read(words.key("x")), dy = read(words.key("dy"));
            const Shape whole = shape(parameter);
            const bool out_first = layout == Layout::out_in;
            const TensorView x_view(x.data(), dtype(parameter), {tokens, whole[out_first ? 1 : 0]});
            const TensorView dy_view(dy.data(), dtype(parameter), {tokens, whole[out_first ? 0 : 1]});
            Gradient gradient = Gradient::activations(x_view, dy_view, layout, scale);
            std::vector<std::int64_t> offsets;
            if (words.has("example_offsets")) {
                offsets = read_indices(words.key("example_offsets"));
                gradient = gradient.with_examples(offsets);
            }
            use(parameter, gradient);
        } else {
            give_up("unknown gradient " + form);
        }
    }

    void step(Words &words) {
        Hyperparameters all;
        all.learning_rate = words.number("lr");
        all.beta1 = words.number("beta1");
        all.beta2 = words.number("beta2");
        all.epsilon = words.number("eps");
        all.weight_decay = words.number("weight_decay");
        all.decay = words.named<Decay>("decay");
        all.momentum = words.number("momentum");
        adapter_.step(all);
    }

    void reload(Format format) {
        adapter_.unmerge();
        std::stringstream stream;
        SaveOptions options;
        options.format = format;
        adapter_.save(stream, options);
        adapter_.close();
        adapter_ = Adapter::load(context_, stream);
        bind_all();
        adapter_.merge();
    }

    void expect(const std::string &command, Words &words) {
        const std::int64_t parameter = position(words);
        if (command == "expect-mask") {
            BOOST_CHECK(adapter_.mask(parameter) == read_indices(words.next()));
        } else if (command == "expect-moved") {
            const Moved which = from_name<Moved>(words.next());
            BOOST_CHECK(adapter_.moved(parameter, which) == read_indices(words.next()));
        } else if (command == "expect-deltas") {
            BOOST_CHECK(bytes_of(adapter_.deltas(parameter)) == read(words.next()));
        } else if (command == "expect-gradient") {
            BOOST_CHECK(bytes_of(adapter_.gradient(parameter)) == read(words.next()));
        } else if (command == "expect-weights") {
            BOOST_CHECK(weights_[index(parameter)] == read(words.next()));
        } else if (command == "expect-quantized") {
            const Codes &codes = codes_.at(parameter);
            BOOST_CHECK(codes.codes == read(words.key("codes")));
            BOOST_CHECK(codes.absmax == read(words.key("absmax")));
            if (!codes.absmax_absmax.empty()) {
                BOOST_CHECK(codes.absmax_absmax == read(words.key("absmax_absmax")));
                BOOST_CHECK(codes.absmax_offset == read(words.key("absmax_offset")));
            }
        } else if (command == "expect-requantization") {
            const Requantization done = adapter_.measure_requantization(parameter);
            BOOST_TEST(done.deltas == words.integer("deltas"));
            BOOST_TEST(done.changed == words.integer("changed"));
            BOOST_TEST(done.relative_error == words.number("relative_error"));
        } else if (command == "expect-basis") {
            const auto [u, v] = bases_.at(parameter).matrices();
            BOOST_CHECK(bytes_of(u) == read(words.key("u")));
            BOOST_CHECK(bytes_of(v) == read(words.key("v")));
        } else if (command == "expect-linear") {
            const std::int64_t tokens = words.integer("tokens");
            const Shape &whole = shape(parameter);
            const Bytes x = read(words.key("x")), expected = read(words.key("y"));
            Bytes y(expected.size());
            adapter_.linear_forward(parameter, TensorView(x.data(), dtype(parameter), {tokens, whole.at(1)}),
                                    MutableTensorView(y.data(), dtype(parameter), {tokens, whole.at(0)}));
            BOOST_CHECK(y == expected);
        } else {
            give_up("unknown command " + command);
        }
    }

    static Bytes bytes_of(const TensorView &lent) {
        const bool wide = lent.dtype() == Dtype::float32;
        const void *data = wide ? static_cast<const void *>(lent.values<float>().data())
                                : static_cast<const void *>(lent.values<bfloat16>().data());
        const auto *bytes = static_cast<const std::uint8_t *>(data);
        return Bytes(bytes, bytes + lent.size() * (wide ? 4 : 2));
    }

    Bytes read(const std::string &name) const {
        std::ifstream file(folder_ / name, std::ios::binary);
        if (!file) give_up("there is no " + name);
        return Bytes(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
    std::vector<std::int64_t> read_indices(const std::string &name) const {
        const Bytes bytes = read(name);
        std::vector<std::int64_t> indices(bytes.size() / sizeof(std::int64_t));
        if (!indices.empty()) std::memcpy(indices.data(), bytes.data(), bytes.size());
        return indices;
    }

    static std::size_t index(std::int64_t parameter) { return static_cast<std::size_t>(parameter); }
    std::int64_t position(Words &words) const {
        const std::int64_t parameter = std::stoll(words.next());
        parameters_.at(index(parameter));
        return parameter;
    }
    const Shape &shape(std::int64_t parameter) const { return parameters_[index(parameter)].shape; }
    Dtype dtype(std::int64_t parameter) const { return parameters_[index(parameter)].dtype; }
    Codes read_codes(std::int64_t parameter, Words &words) const {
        Codes codes{words.named<WeightsKind>("kind"), static_cast<std::int32_t>(words.integer("block")),
                    static_cast<std::int32_t>(words.integer("absmax_block")), read(words.key("codes")),
                    read(words.key("absmax")), {}, {}, shape(parameter)};
        if (words.has("absmax_absmax")) {
            codes.absmax_absmax = read(words.key("absmax_absmax"));
            codes.absmax_offset = read(words.key("absmax_offset"));
        }
        return codes;
    }
    void bind(std::int64_t parameter) {
        if (codes_.count(parameter)) return adapter_.bind(parameter, codes_.at(parameter).view());
        adapter_.bind(parameter,
                      MutableTensorView(weights_[index(parameter)].data(), dtype(parameter), shape(parameter)));
    }
    void bind_all() {
        for (std::size_t i = 0; i < parameters_.size(); ++i) bind(static_cast<std::int64_t>(i));
    }

    std::filesystem::path folder_;
    Context context_;
    std::vector<Parameter> parameters_;
    AdapterOptions options_;
    std::map<std::int64_t, Basis> bases_;
    Adapter adapter_;
    std::vector<Bytes> weights_;
    std::map<std::int64_t, Codes> codes_;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(parity)

BOOST_AUTO_TEST_CASE(recorded_cases) {
    const char *folder = std::getenv("SPEFT_PARITY_CASES");
    if (!folder) {
        BOOST_TEST_MESSAGE("skipped: SPEFT_PARITY_CASES names no folder of recorded cases");
        return;
    }
    int played = 0;
    for (const auto &entry : std::filesystem::directory_iterator(folder)) {
        if (!entry.is_directory()) continue;
        BOOST_TEST_CONTEXT(entry.path().filename().string()) {
            Player(entry.path()).play();
            ++played;
        }
    }
    BOOST_TEST(played > 0, folder << " has no case: SPEFT_PARITY_CASES");
}

// A player that passes over what it does not know would prove nothing.
BOOST_AUTO_TEST_CASE(unknown_words_fail) {
    for (const char *line : {"fly 1", "context threads=1 wings=2", "select now", "context"}) {
        const auto folder = std::filesystem::temp_directory_path() / ("speft-parity-" + std::to_string(getpid()));
        std::filesystem::create_directory(folder);
        std::ofstream(folder / "case.txt") << "parameter name=w role=sparse dtype=float32 shape=2,2\n" << line << "\n";
        BOOST_CHECK_THROW(Player(folder).play(), std::exception);
        std::filesystem::remove_all(folder);
    }
}

BOOST_AUTO_TEST_SUITE_END()
