// Refusals: each has its class, names the argument, and loses nothing.
#include "host.h"

using namespace speft;
using host::choose;

bool find_missing_file_without_rtti();  // without_rtti.cpp

namespace {

struct Ready {
    Context context = host::make_context();
    host::Model model;
    Adapter adapter = model.make_adapter(context, choose(Method::magnitude));
};

struct Selected : Ready {
    Selected() { adapter.select(); }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(errors)

BOOST_AUTO_TEST_CASE(errors_keep_their_class_without_rtti) { BOOST_TEST(find_missing_file_without_rtti()); }

BOOST_AUTO_TEST_CASE(every_status_has_a_class) {
    for (speft_status status = SPEFT_INVALID_ARGUMENT; status <= SPEFT_INTERNAL + 1; ++status) {
        try {
            detail::throw_error(status, "what", "cpu", 7);
        } catch (const error &failure) {
            BOOST_TEST(failure.status() == status);
            BOOST_TEST(failure.what() == std::string("what"));
            BOOST_TEST(failure.backend() == "cpu");
            BOOST_TEST(failure.native_code() == 7);
        }
    }
    BOOST_CHECK_THROW(detail::throw_error(SPEFT_DEVICE, "", "", 0), device_failure);
    BOOST_CHECK_THROW(detail::throw_error(SPEFT_INTERNAL, "", "", 0), internal_failure);
}

BOOST_FIXTURE_TEST_CASE(shapes_and_types, Ready) {
    std::vector<float> small(10);
    CHECK_REFUSED(invalid_argument, "query.weight", adapter.bind(0, small));
    std::vector<bfloat16> half(96);
    CHECK_REFUSED(invalid_argument, "bfloat16", adapter.bind(0, view(half, {12, 8})));
    std::vector<std::uint8_t> bytes(96);
    CHECK_REFUSED(invalid_argument, "query.weight", adapter.bind(0, view(bytes, {12, 8})));
    CHECK_REFUSED(invalid_argument, "dense", adapter.observe(0, Gradient::dense(small)));
    const std::vector<float> x(16), dy(24);
    CHECK_REFUSED(invalid_argument, "dy", adapter.observe(0, Gradient::activations(view(x, {2, 8}), view(dy, {3, 8}))));
    CHECK_REFUSED(invalid_argument, "values", adapter.observe(0, Gradient::values(small)));
    CHECK_REFUSED(invalid_argument, "scale", Gradient::dense(small, 0));
    CHECK_REFUSED(invalid_argument, "parameter", adapter.bind(3, small));
    CHECK_REFUSED(invalid_argument, "'no such'", adapter.position("no such"));

    // Columns first: not row-major.
    std::int64_t shape[] = {12, 8}, strides[] = {1, 12};
    std::vector<float> weights(96);
    const speft_tensor transposed = {weights.data(), {SPEFT_DEVICE_CPU, 0}, 2, {SPEFT_CODE_FLOAT, 32, 1},
                                     shape, strides, 0};
    CHECK_REFUSED(invalid_argument, "row-major", adapter.bind(0, MutableTensorView(transposed)));
    const MutableTensorView elsewhere(weights.data(), Dtype::float32, {12, 8}, {SPEFT_DEVICE_CUDA, 0});
    CHECK_REFUSED(invalid_argument, "must be on cpu", adapter.bind(0, elsewhere));
    adapter.select();  // what was bound before still is
}

BOOST_FIXTURE_TEST_CASE(order_of_calls, Ready) {
    const std::vector<float> values(96);
    const auto gradient = [&] { return Gradient::dense(view(values, {12, 8})); };
    CHECK_REFUSED(invalid_state, "select", adapter.step());
    CHECK_REFUSED(invalid_state, "select", adapter.accumulate(0, gradient()));
    CHECK_REFUSED(invalid_state, "select", adapter.mask(0));
    CHECK_REFUSED(invalid_state, "select", adapter.deltas(0));
    CHECK_REFUSED(invalid_state, "select", adapter.ages(0));
    CHECK_REFUSED(invalid_state, "select", adapter.merge());
    CHECK_REFUSED(invalid_state, "select", adapter.reselect());
    adapter.unbind(1);
    CHECK_REFUSED(invalid_state, "value.weight", adapter.select());
    model.bind(adapter);
    adapter.select();
    CHECK_REFUSED(invalid_state, "select", adapter.select());
    CHECK_REFUSED(invalid_state, "select", adapter.observe(0, gradient()));
    CHECK_REFUSED(invalid_state, "select", adapter.begin_observation(1));
    CHECK_REFUSED(invalid_state, "select", adapter.clear_observations());
    CHECK_REFUSED(invalid_state, "track_moves", adapter.moved(0, Moved::grown));
    CHECK_REFUSED(invalid_state, "gradient", adapter.step());
}

BOOST_FIXTURE_TEST_CASE(given_masks_and_scores, Ready) {
    AdapterOptions masks = choose(Method::mask, 0);
    Adapter given(context, model.parameters, masks);
    CHECK_REFUSED(invalid_argument, "strictly increase", given.set_mask(0, std::vector<std::int64_t>{4, 4}));
    CHECK_REFUSED(invalid_argument, "96", given.set_mask(0, std::vector<std::int64_t>{96}));
    CHECK_REFUSED(invalid_argument, "int64", given.set_mask(0, std::vector<float>{1}));
    Adapter scores(context, model.parameters, choose(Method::scores));
    CHECK_REFUSED(invalid_argument, "scores", scores.set_scores(0, std::vector<float>(3)));
    Adapter change(context, model.parameters, choose(Method::weight_change));
    CHECK_REFUSED(invalid_argument, "reference", change.set_reference(0, std::vector<float>(3)));
}

BOOST_FIXTURE_TEST_CASE(numbers_of_a_step, Selected) {
    model.accumulate(adapter, 1);
    const auto before = model.weights;
    CHECK_REFUSED(invalid_argument, "learning_rate", adapter.step(Hyperparameters{-1}));
    StepOptions options;
    options.gradient_scale = 0;
    CHECK_REFUSED(invalid_argument, "gradient_scale", adapter.step(options));
    options.gradient_scale = 1;
    options.control.emplace(model.weights[0]);
    CHECK_REFUSED(unsupported, "control", adapter.step(options));
    CHECK_REFUSED(invalid_argument, "max_norm", adapter.clip_gradient(-1));
    std::vector<std::int64_t> room(1);
    CHECK_REFUSED(invalid_argument, "indices", adapter.read_mask(0, room));
    CHECK_REFUSED(invalid_argument, "bias", adapter.measure_rounding_loss(2));
    for (std::size_t i = 0; i < 3; ++i) BOOST_TEST(host::same_bits(model.weights[i], before[i]));
    adapter.step();
}

BOOST_FIXTURE_TEST_CASE(options_of_an_adapter, Ready) {
    const auto create = [&](const AdapterOptions &options) { return Adapter(context, model.parameters, options); };
    CHECK_REFUSED(invalid_argument, "density", create(choose(Method::magnitude, 0)));
    CHECK_REFUSED(invalid_argument, "method", create(choose(static_cast<Method>(99))));
    CHECK_REFUSED(invalid_argument, "score", create(choose(Method::score_function)));
    AdapterOptions options = choose(Method::magnitude);
    options.optimizer = OptimizerOptions{static_cast<Optimizer>(99)};
    CHECK_REFUSED(invalid_argument, "kind", create(options));
    options = choose(Method::magnitude);
    options.communicator.emplace();
    BOOST_TEST(bool(create(options)));
    options.communicator->size = 2;
    CHECK_REFUSED(unsupported, "communicator", create(options));
    const std::vector<Parameter> none;
    CHECK_REFUSED(invalid_argument, "count", Adapter(context, none, choose(Method::magnitude)));
    CHECK_REFUSED(invalid_argument, "zero byte",
                  Adapter(context, {{std::string("a\0b", 3), {4}}}, choose(Method::magnitude)));
    std::vector<Parameter> part = {{"w", {8}}};
    part[0].part = Part::range;
    part[0].offset = {2};
    part[0].extent = {4};
    CHECK_REFUSED(unsupported, "'w'", Adapter(context, part, choose(Method::magnitude)));
}

BOOST_AUTO_TEST_CASE(options_of_a_context) {
    ContextOptions options;
    options.backend = "no such";
    CHECK_REFUSED(unavailable, "no such", Context{options});
    options.backend = "cpu";
    options.threads = -1;
    CHECK_REFUSED(invalid_argument, "threads", Context{options});
    options.threads = 0;
    options.device = 7;
    CHECK_REFUSED(invalid_argument, "device", Context{options});
    options.device = 0;
    options.stream = &options;
    CHECK_REFUSED(unsupported, "stream", Context{options});
    options.stream = nullptr;
    options.logger.emplace();
    CHECK_REFUSED(invalid_argument, "log", Context{options});
    options.logger.reset();
    options.allocator.emplace();
    CHECK_REFUSED(invalid_argument, "allocat", Context{options});
    options.allocator.reset();
    options.parallel_for.emplace();
    CHECK_REFUSED(invalid_argument, "parallel_for", Context{options});
    options.parallel_for.reset();
    options.backend_path = "/no such folder";  // searched first, not only
    BOOST_TEST(Context(options).backend() == "cpu");
    Context context(ContextOptions{});
    CHECK_REFUSED(unsupported, "stream", context.set_stream(&options));
}

BOOST_AUTO_TEST_CASE(empty_handles) {
    Context context;
    CHECK_REFUSED(invalid_argument, "context", context.synchronize());
    CHECK_REFUSED(invalid_argument, "context", context.backend());
    CHECK_REFUSED(invalid_argument, "context", context.implementation("scale"));
    CHECK_REFUSED(invalid_argument, "context", Adapter(context, host::declare_model(), choose(Method::magnitude)));
    CHECK_REFUSED(invalid_argument, "context", Adapter::load(context, "file"));
    CHECK_REFUSED(invalid_argument, "context", context.plan_memory(host::declare_model(), choose(Method::magnitude)));
    Adapter adapter;
    CHECK_REFUSED(invalid_argument, "adapter", adapter.select());
    CHECK_REFUSED(invalid_argument, "adapter", adapter.step());
    CHECK_REFUSED(invalid_argument, "adapter", adapter.state());
    CHECK_REFUSED(invalid_argument, "adapter", adapter.save("file"));
    std::vector<float> values(4);
    CHECK_REFUSED(invalid_argument, "adapter", adapter.bind(0, values));
    CHECK_REFUSED(invalid_argument, "adapter", adapter.attach());
    CHECK_REFUSED(invalid_argument, "context", Basis(context, {4, 4}));
    Basis basis;
    BOOST_TEST(!basis);
    CHECK_REFUSED(invalid_argument, "basis", basis.observe(Gradient::dense(view(values, {2, 2}))));
    CHECK_REFUSED(invalid_argument, "basis", basis.fit());
    CHECK_REFUSED(invalid_argument, "basis", basis.matrices());
    CHECK_REFUSED(invalid_argument, "basis", basis.state());
    CHECK_REFUSED(invalid_argument, "basis", adapter.bind_basis(0, basis));
    basis.close();
    adapter = host::Model().make_adapter(context = host::make_context(), choose(Method::magnitude));
    adapter.close();
    CHECK_REFUSED(invalid_argument, "adapter", adapter.merge());
}

BOOST_FIXTURE_TEST_CASE(weights_changed_behind_the_adapter, Selected) {
    model.train(adapter, 1);
    model.weights[0][static_cast<std::size_t>(adapter.mask(0).at(0))] += 1;
    CHECK_REFUSED(invalid_state, "changed behind the adapter", adapter.unmerge());
}

BOOST_FIXTURE_TEST_CASE(two_adapters_on_one_memory, Selected) {
    Adapter second(context, model.parameters, choose(Method::random));
    model.bind(second);
    CHECK_REFUSED(invalid_state, "merged into already", second.select());
}

BOOST_FIXTURE_TEST_CASE(codes_in_place_of_weights_in_effect, Selected) {
    std::vector<std::uint8_t> codes(48);
    std::vector<float> absmax(2);
    const QuantizedWeights quantized{WeightsKind::nf4, view(codes, {48}), 64, absmax};
    CHECK_REFUSED(invalid_state, "was bound to dense", adapter.bind(0, quantized));
}

BOOST_AUTO_TEST_SUITE_END()
