// SparseGrad: training in a basis of the gradients, beside the weights.
#include "host.h"

#include <limits>
#include <numeric>
#include <sstream>

using namespace speft;
using host::choose;

namespace {

constexpr std::size_t rows = 6, columns = 9, scalars = rows * columns;
const Shape shape = {rows, columns};

std::vector<Parameter> one_matrix() { return {{"w", shape}}; }

using Doubles = std::vector<double>;

// [m, n] = [m, k] · [k, n]
Doubles multiply(const Doubles &one, const Doubles &other, std::size_t m, std::size_t k, std::size_t n) {
    Doubles product(m * n);
    for (std::size_t i = 0; i < m; ++i)
        for (std::size_t j = 0; j < n; ++j)
            for (std::size_t q = 0; q < k; ++q) product[i * n + j] += one[i * k + q] * other[q * n + j];
    return product;
}

Doubles transpose(const Doubles &matrix, std::size_t row_count, std::size_t column_count) {
    Doubles transposed(matrix.size());
    for (std::size_t i = 0; i < matrix.size(); ++i)
        transposed[i % column_count * row_count + i / column_count] = matrix[i];
    return transposed;
}

Doubles widen(span<const float> values) { return Doubles(values.begin(), values.end()); }

// Values here are below 16 and come of at most four products in float32, each a sum of 9 terms at most.
constexpr double tolerance = 4 * 9 * 16 * double(std::numeric_limits<float>::epsilon());

void check_near(span<const float> found, const Doubles &expected) {
    BOOST_REQUIRE(found.size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) BOOST_TEST(std::abs(found[i] - expected[i]) <= tolerance);
}

// A layer y = x Wᵀ, and 5 of its 6 row directions.
struct Rotated {
    static constexpr std::size_t directions = 5, k = 7;
    static constexpr std::int64_t tokens = 4;
    Context context = host::make_context();
    std::vector<float> weights = host::make_values(scalars, 1);
    const std::vector<float> original = weights;
    Basis basis = fit(context, {rows, columns, directions});
    Doubles u, v;  // [columns, columns], [directions, rows]
    Adapter adapter{context, one_matrix(), choose(Method::sparsegrad, k)};

    Rotated() {
        adapter.bind(0, view(weights, shape));
        const auto [first, second] = basis.matrices();
        u = widen(first.values<float>());
        v = widen(second.values<float>());
    }

    static Basis fit(Context &context, const BasisOptions &options) {
        Basis fitted(context, options);
        for (std::uint32_t seed = 0; seed < 3; ++seed) {
            const auto values = host::make_values(static_cast<std::size_t>(options.rows * options.columns), 40 + seed);
            fitted.observe(Gradient::dense(view(values, {options.rows, options.columns})));
        }
        fitted.fit();
        return fitted;
    }

    void select() {
        adapter.bind_basis(0, basis);
        adapter.select();
    }
    // dW
    Doubles accumulate(std::uint32_t seed) {
        const auto x = host::make_values(tokens * columns, 100 + seed);
        const auto dy = host::make_values(tokens * rows, 200 + seed);
        adapter.accumulate(0, Gradient::activations(view(x, {tokens, columns}), view(dy, {tokens, rows})));
        return multiply(transpose(widen(dy), tokens, rows), widen(x), rows, tokens, columns);
    }
    void train(std::uint32_t seed) {
        accumulate(seed);
        adapter.reselect();
        adapter.step(Hyperparameters{0.1});
    }
    // V dW Uᵀ
    Doubles rotate(const Doubles &gradient) const {
        return multiply(multiply(v, gradient, directions, rows, columns), transpose(u, columns, columns), directions,
                        columns, columns);
    }
    // ΔW = Vᵀ Δ̃ U
    Doubles delta() const {
        Doubles sparse(directions * columns);
        const auto mask = adapter.mask(0);
        const auto deltas = adapter.deltas(0).values<float>();
        for (std::size_t i = 0; i < mask.size(); ++i) sparse[static_cast<std::size_t>(mask[i])] = deltas[i];
        return multiply(multiply(transpose(v, directions, rows), sparse, rows, directions, columns), u, rows, columns,
                        columns);
    }
    Doubles trained() const {
        Doubles sum = delta();
        for (std::size_t i = 0; i < scalars; ++i) sum[i] += original[i];
        return sum;
    }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(sparsegrad, Rotated)

BOOST_AUTO_TEST_CASE(trains_beside_the_weights) {
    select();
    AdapterState state = adapter.state();
    BOOST_TEST(state.attached);
    BOOST_TEST(!state.merged);
    BOOST_TEST(state.selected_scalars == 0);
    BOOST_CHECK(state.method == Method::sparsegrad);
    Doubles moved(directions * columns);
    for (std::uint32_t step = 1; step <= 3; ++step) {
        const Doubles gradient = rotate(accumulate(step));
        CHECK_REFUSED(invalid_state, "speft_reselect", adapter.step());
        adapter.reselect();
        for (const std::int64_t index : host::find_largest(gradient, k)) moved[static_cast<std::size_t>(index)] = 1;
        const auto mask = adapter.mask(0);
        const auto values = adapter.gradient(0).values<float>();
        std::size_t present = 0;
        for (std::size_t i = 0; i < mask.size(); ++i) {
            BOOST_TEST(moved[static_cast<std::size_t>(mask[i])] == 1);
            if (values[i] == 0) continue;
            ++present;
            BOOST_TEST(std::abs(values[i] - gradient[static_cast<std::size_t>(mask[i])]) <= tolerance);
        }
        BOOST_TEST(present == k);
        BOOST_TEST(double(mask.size()) == std::accumulate(moved.begin(), moved.end(), 0.0));
        adapter.step(Hyperparameters{0.1});
        BOOST_TEST(host::same_bits(weights, original));
    }
    BOOST_TEST(adapter.state().steps == 3);
    CHECK_REFUSED(invalid_argument, "beside its weights", adapter.measure_rounding_loss(0));
}

// Few tokens go through the basis, many by ΔW.
BOOST_AUTO_TEST_CASE(layers_apply_the_delta) {
    select();
    for (std::uint32_t step = 1; step <= 3; ++step) train(step);
    basis.close();  // the adapter keeps it
    for (const std::int64_t count : {1, 50}) {
        const auto many = static_cast<std::size_t>(count);
        const auto x = host::make_values(many * columns, 7), dy = host::make_values(many * rows, 8);
        for (const bool delta_only : {false, true})
            for (const bool accumulate : {false, true}) {
                LinearOptions options;
                options.delta_only = delta_only;
                options.accumulate = accumulate;
                const Doubles matrix = delta_only ? delta() : trained();
                std::vector<float> y(many * rows, 2.0f), dx(many * columns, 2.0f);
                Doubles y_expected = multiply(widen(x), transpose(matrix, rows, columns), many, columns, rows);
                Doubles dx_expected = multiply(widen(dy), matrix, many, rows, columns);
                for (Doubles *expected : {&y_expected, &dx_expected})
                    for (double &value : *expected) value += accumulate ? 2 : 0;
                adapter.linear_forward(0, view(x, {count, columns}), view(y, {count, rows}), options);
                adapter.linear_backward(0, view(dy, {count, rows}), view(dx, {count, columns}), options);
                check_near(y, y_expected);
                check_near(dx, dx_expected);
            }
    }
}

BOOST_AUTO_TEST_CASE(merges_attaches_and_gives_the_bits_back) {
    select();
    train(1);
    train(2);
    const Doubles expected = trained();
    adapter.merge();
    check_near(weights, expected);
    const auto merged = weights;
    BOOST_TEST(adapter.state().merged);
    BOOST_TEST(!adapter.state().attached);
    accumulate(3);
    CHECK_REFUSED(invalid_state, "speft_attach", adapter.step());
    CHECK_REFUSED(invalid_state, "speft_attach", adapter.reselect());
    const auto x = host::make_values(2 * columns, 7);
    std::vector<float> y(2 * rows);
    CHECK_REFUSED(invalid_state, "speft_attach",
                  adapter.linear_forward(0, view(x, {2, columns}), view(y, {2, rows})));
    weights[scalars / 2] += 1;
    CHECK_REFUSED(invalid_state, "changed behind the adapter", adapter.attach());
    weights = merged;

    adapter.attach();
    adapter.attach();
    BOOST_TEST(adapter.state().attached);
    BOOST_TEST(host::same_bits(weights, original));
    adapter.unmerge();
    BOOST_TEST(!adapter.state().attached);
    adapter.merge();
    BOOST_TEST(host::same_bits(weights, merged));
    adapter.unmerge();
    BOOST_TEST(host::same_bits(weights, original));
    CHECK_REFUSED(invalid_state, "speft_attach", adapter.reselect());
    adapter.attach();
    adapter.reselect();
    adapter.step();
    BOOST_TEST(adapter.state().steps == 3);
}

BOOST_AUTO_TEST_CASE(the_file_has_the_basis_in_it) {
    select();
    train(1);
    train(2);
    const auto x = host::make_values(4 * columns, 7);
    std::vector<float> before(4 * rows), after(4 * rows);
    adapter.linear_forward(0, view(x, {4, columns}), view(before, {4, rows}));
    adapter.merge();
    const auto merged = weights;
    adapter.unmerge();
    std::stringstream file;
    adapter.save(file);

    const auto bind = [&](Adapter loaded, std::vector<float> &memory) {
        loaded.bind(0, view(memory, shape));
        return loaded;
    };
    Adapter loaded = bind(Adapter::load(context, file), weights);
    BOOST_TEST(loaded.parameter(0).shape == shape, boost::test_tools::per_element());
    CHECK_REFUSED(invalid_state, "speft_attach",
                  loaded.linear_forward(0, view(x, {4, columns}), view(after, {4, rows})));
    CHECK_REFUSED(invalid_state, "basis", loaded.bind_basis(0, basis));
    loaded.attach();
    BOOST_TEST(host::same_bits(weights, original));
    loaded.linear_forward(0, view(x, {4, columns}), view(after, {4, rows}));
    BOOST_TEST(host::same_bits(after, before));
    loaded.merge();
    BOOST_TEST(host::same_bits(weights, merged));
    loaded.unmerge();

    auto other = host::make_values(scalars, 2);
    const auto untouched = other;
    file.seekg(0);
    Adapter stranger = bind(Adapter::load(context, file), other);
    CHECK_REFUSED(invalid_argument, "'w'", stranger.attach());
    CHECK_REFUSED(invalid_argument, "'w'", stranger.merge());
    BOOST_TEST(host::same_bits(other, untouched));
}

// Two runs, of two steps and one, are one of three.
BOOST_AUTO_TEST_CASE(a_checkpoint_goes_on_as_if_never_stopped) {
    select();
    train(1);
    train(2);
    std::stringstream file;
    adapter.save_checkpoint(file);
    train(3);
    const auto mask = adapter.mask(0), ages = adapter.ages(0);
    const auto deltas = host::copy(adapter.deltas(0).values<float>());
    adapter = Adapter::load_checkpoint(context, file);
    adapter.bind(0, view(weights, shape));
    adapter.attach();
    train(3);
    BOOST_TEST(adapter.mask(0) == mask, boost::test_tools::per_element());
    BOOST_TEST(adapter.ages(0) == ages, boost::test_tools::per_element());
    BOOST_TEST(host::same_bits(host::copy(adapter.deltas(0).values<float>()), deltas));
}

BOOST_AUTO_TEST_CASE(leaves_the_basis_for_the_largest_of_its_delta) {
    select();
    BOOST_TEST(adapter.measure_ordinary_share(0.5) == 1);  // of nothing
    for (std::uint32_t step = 1; step <= 3; ++step) train(step);
    const Doubles change = delta();
    double all = 0;
    for (const double entry : change) all += entry * entry;
    for (const std::size_t count : {scalars, scalars / 6}) {
        const double density = double(count) / double(scalars);
        auto left = adapter.leave_bases(density);
        Adapter ordinary = std::move(left.first);
        const double share = left.second;
        BOOST_TEST(host::same_bits(weights, original));
        BOOST_TEST(adapter.measure_ordinary_share(density) == share);
        BOOST_TEST(ordinary.state().selected);
        BOOST_TEST(!ordinary.state().merged);
        BOOST_CHECK(ordinary.state().method == Method::mask);
        const auto mask = ordinary.mask(0);
        BOOST_TEST(mask == host::find_largest(change, count), boost::test_tools::per_element());
        Doubles expected, merged(original.begin(), original.end());
        double kept = 0;
        for (const std::int64_t index : mask) {
            const double entry = change[static_cast<std::size_t>(index)];
            expected.push_back(entry);
            merged[static_cast<std::size_t>(index)] += entry;
            kept += entry * entry;
        }
        check_near(ordinary.deltas(0).values<float>(), expected);
        BOOST_TEST(std::abs(share - kept / all) <= tolerance);
        CHECK_REFUSED(invalid_state, "bound", ordinary.merge());
        ordinary.bind(0, view(weights, shape));
        ordinary.merge();
        check_near(weights, merged);
        ordinary.unmerge();
        BOOST_TEST(host::same_bits(weights, original));
    }
    CHECK_REFUSED(invalid_argument, "density", adapter.leave_bases(0));
    CHECK_REFUSED(invalid_argument, "density", adapter.measure_ordinary_share(1.5));
    adapter.merge();
    CHECK_REFUSED(invalid_state, "merged", adapter.leave_bases(1));
    adapter.unmerge();
    adapter.unbind(0);
    CHECK_REFUSED(invalid_state, "bound", adapter.leave_bases(1));
    CHECK_REFUSED(invalid_argument, "adapter", Adapter().leave_bases(1));
}

BOOST_AUTO_TEST_CASE(a_fixed_mask_is_of_observations) {
    AdapterOptions options = choose(Method::sparsegrad, k);
    options.selection.schedule.emplace();
    options.selection.schedule->schedule = Schedule::none;
    options.optimizer = OptimizerOptions{Optimizer::sgd};
    adapter = Adapter(context, one_matrix(), options);
    adapter.bind(0, view(weights, shape));
    adapter.bind_basis(0, basis);
    const auto values = host::make_values(scalars, 9);
    adapter.observe(0, Gradient::dense(view(values, shape)));
    CHECK_REFUSED(invalid_state, "observations", adapter.bind_basis(0, basis));
    adapter.finish_observation(1);
    adapter.select();
    const Doubles gradient = rotate(widen(values));
    BOOST_TEST(adapter.mask(0) == host::find_largest(gradient, k), boost::test_tools::per_element());
    adapter.accumulate(0, Gradient::dense(view(values, shape)));
    BOOST_TEST(!adapter.reselect().has_value());
    adapter.step(Hyperparameters{0.5});
    Doubles expected;
    for (const std::int64_t index : adapter.mask(0))
        expected.push_back(-0.5 * gradient[static_cast<std::size_t>(index)]);
    check_near(adapter.deltas(0).values<float>(), expected);
}

BOOST_AUTO_TEST_CASE(refuses_bases_by_name) {
    CHECK_REFUSED(invalid_state, "'w' has no basis", adapter.select());
    Basis narrow = fit(context, {columns, rows});
    CHECK_REFUSED(invalid_argument, "[9, 6]", adapter.bind_basis(0, narrow));
    Basis bare(context, {rows, columns});
    CHECK_REFUSED(invalid_state, "speft_fit_basis", adapter.bind_basis(0, bare));
    CHECK_REFUSED(invalid_argument, "basis", adapter.bind_basis(0, Basis()));
    CHECK_REFUSED(invalid_argument, "parameter", adapter.bind_basis(1, basis));
    Context elsewhere = host::make_context();
    Basis foreign = fit(elsewhere, {rows, columns});
    CHECK_REFUSED(invalid_argument, "context", adapter.bind_basis(0, foreign));

    adapter.bind_basis(0, basis);
    CHECK_REFUSED(invalid_state, "adapter", basis.fit());
    adapter.unbind_basis(0);
    basis.fit();
    CHECK_REFUSED(invalid_state, "'w' has no basis", adapter.select());
    adapter.bind_basis(0, basis);
    adapter.select();
    CHECK_REFUSED(invalid_state, "basis", adapter.bind_basis(0, basis));
    CHECK_REFUSED(invalid_state, "basis", adapter.unbind_basis(0));
    adapter.close();
    basis.fit();  // nobody trains in it any more

    Adapter dense(context, {{"w", shape}, {"head", shape, Dtype::float32, Role::dense}},
                  choose(Method::sparsegrad));
    CHECK_REFUSED(invalid_argument, "'head'", dense.bind_basis(1, basis));
    AdapterOptions options = choose(Method::sparsegrad);
    options.delta_type = DeltaType::bfloat16;
    CHECK_REFUSED(invalid_argument, "delta_type", Adapter(context, one_matrix(), options));
}

BOOST_AUTO_TEST_SUITE_END()
