// A basis of gradients: found again where it is known, and what it says of itself.
#include "host.h"

#include <cstdlib>
#include <limits>
#include <new>
#include <thread>

using namespace speft;

namespace {

constexpr std::size_t rows = 6, columns = 9;
// How large the gradients are along each direction.
constexpr double sizes[rows] = {8, 5, 3, 2, 1, 0.5};

using Directions = std::vector<std::vector<double>>;

// The rows of a Householder reflection, of the sign that a basis has: orthogonal, and nothing like the axes.
Directions reflect(std::size_t size, std::uint32_t seed) {
    std::vector<float> axis = host::make_values(size, seed);
    axis[0] += 2;
    double squares = 0;
    for (const float entry : axis) squares += double(entry) * entry;
    Directions directions(size, std::vector<double>(size));
    for (std::size_t r = 0; r < size; ++r) {
        double largest = 0;
        for (std::size_t c = 0; c < size; ++c) {
            directions[r][c] = (r == c) - 2 * double(axis[r]) * axis[c] / squares;
            if (std::abs(directions[r][c]) > std::abs(largest)) largest = directions[r][c];
        }
        if (largest < 0)
            for (double &entry : directions[r]) entry = -entry;
    }
    return directions;
}

// Gradients that are diagonal in the basis of these directions, of entries ±sizes: their singular vectors, and those of
// their stack, are these, by construction.
std::vector<std::vector<float>> make_gradients(const Directions &left, const Directions &right) {
    constexpr std::size_t steps = 8;
    const std::vector<float> signs = host::make_values(steps * rows, 1);
    std::vector<std::vector<float>> gradients(steps, std::vector<float>(rows * columns));
    for (std::size_t step = 0; step < steps; ++step)
        for (std::size_t i = 0; i < rows * columns; ++i) {
            double sum = 0;
            for (std::size_t q = 0; q < rows; ++q)
                sum += left[q][i / columns] * std::copysign(sizes[q], signs[step * rows + q]) * right[q][i % columns];
            gradients[step][i] = static_cast<float>(sum);
        }
    return gradients;
}

Gradient dense(const std::vector<float> &values) { return Gradient::dense(view(values, {rows, columns})); }

struct Bases {
    Context context = host::make_context(2);
    Directions left = reflect(rows, 2), right = reflect(columns, 3);
    std::vector<std::vector<float>> gradients = make_gradients(left, right);

    Basis observe(const BasisOptions &options, std::size_t first = 0, std::size_t count = 8) {
        Basis basis(context, options);
        for (std::size_t step = first; step < first + count; ++step) basis.observe(dense(gradients[step]));
        return basis;
    }
};

// U, then V.
std::vector<float> copy_matrices(const Basis &basis) {
    const auto [u, v] = basis.matrices();
    std::vector<float> both = host::copy(u.values<float>());
    const std::vector<float> other = host::copy(v.values<float>());
    both.insert(both.end(), other.begin(), other.end());
    return both;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(basis, Bases)

BOOST_AUTO_TEST_CASE(is_the_one_that_the_gradients_were_made_of) {
    Basis basis = observe({rows, columns});
    basis.fit();
    const auto [u, v] = basis.matrices();
    BOOST_TEST(u.shape() == (Shape{columns, columns}), boost::test_tools::per_element());
    BOOST_TEST(v.shape() == (Shape{rows, rows}), boost::test_tools::per_element());
    const auto at = [](const TensorView &matrix, std::size_t row, std::size_t column) {
        return double(matrix.values<float>()[row * static_cast<std::size_t>(matrix.shape()[1]) + column]);
    };
    // Sums of squares, up to 8 · 64, are in float32: they are some 1e-4 off, and vectors that over the distance of two
    // eigenvalues, which is 8 · 0.75 at least.
    for (std::size_t q = 0; q < rows; ++q) {
        for (std::size_t r = 0; r < rows; ++r) BOOST_TEST(std::abs(at(v, q, r) - left[q][r]) < 1e-4);
        for (std::size_t c = 0; c < columns; ++c) BOOST_TEST(std::abs(at(u, q, c) - right[q][c]) < 1e-4);
    }
    // What the gradients do not span completes it; an entry is rounded once, so a product of 9 is off by 9 roundings.
    for (std::size_t one = 0; one < columns; ++one)
        for (std::size_t other = 0; other < columns; ++other) {
            double product = 0;
            for (std::size_t c = 0; c < columns; ++c) product += at(u, one, c) * at(u, other, c);
            BOOST_TEST(std::abs(product - (one == other)) <= 9 * double(std::numeric_limits<float>::epsilon()));
        }
    const BasisState state = basis.state();
    BOOST_TEST(state.fitted);
    BOOST_TEST(state.observations == 8);
    BOOST_TEST(state.row_directions == 6);
    BOOST_TEST(state.column_directions == 6);
    BOOST_TEST(state.row_share == 1);
    BOOST_TEST(state.column_share == 1);
}

BOOST_AUTO_TEST_CASE(keeps_the_leading_directions) {
    Basis basis = observe({rows, columns, 2, 3});
    basis.fit();
    const auto [u, v] = basis.matrices();
    BOOST_TEST(u.shape() == (Shape{3, columns}), boost::test_tools::per_element());
    BOOST_TEST(v.shape() == (Shape{2, rows}), boost::test_tools::per_element());
    const auto squares = [](std::size_t count) {
        double sum = 0;
        for (std::size_t q = 0; q < count; ++q) sum += sizes[q] * sizes[q];
        return sum;
    };
    const BasisState state = basis.state();
    BOOST_TEST(state.row_directions == 6);  // of the gradients, not of what is kept
    BOOST_TEST(state.column_directions == 6);
    // Sums of 8 gradients' squares, in float32.
    BOOST_TEST(std::abs(state.row_share - squares(2) / squares(6)) < 1e-6);
    BOOST_TEST(std::abs(state.column_share - squares(3) / squares(6)) < 1e-6);
}

// Multiples of 2^-7, of which all sums are exact: so that the bits are the same.
BOOST_AUTO_TEST_CASE(activations_are_as_good_as_their_product) {
    constexpr std::size_t tokens = 5;
    const std::vector<float> x = host::make_values(tokens * columns, 4), dy = host::make_values(tokens * rows, 5);
    std::vector<float> product(rows * columns);
    for (std::size_t i = 0; i < product.size(); ++i)
        for (std::size_t t = 0; t < tokens; ++t)
            product[i] += 0.5f * dy[t * rows + i / columns] * x[t * columns + i % columns];
    const TensorView wide = view(x, {tokens, columns}), narrow = view(dy, {tokens, rows});
    std::vector<std::vector<float>> found;
    for (const Gradient &gradient : {dense(product), Gradient::activations(wide, narrow, Layout::out_in, 0.5),
                                     Gradient::activations(narrow, wide, Layout::in_out, 0.5)}) {
        Basis basis(context, {rows, columns});
        basis.observe(gradient);
        basis.fit();
        found.push_back(copy_matrices(basis));
    }
    BOOST_TEST(host::same_bits(found[1], found[0]));
    BOOST_TEST(host::same_bits(found[2], found[0]));
}

BOOST_AUTO_TEST_CASE(observes_further_and_is_fitted_again) {
    Basis basis = observe({rows, columns}, 0, 3);
    basis.fit();
    for (std::size_t step = 3; step < 8; ++step) basis.observe(dense(gradients[step]));
    BOOST_TEST(!basis.state().fitted);
    BOOST_TEST(basis.state().observations == 8);
    BOOST_TEST(basis.state().row_share == 0);
    CHECK_REFUSED(invalid_state, "again", basis.matrices());
    basis.fit();
    Basis expected = observe({rows, columns});
    expected.fit();
    BOOST_TEST(host::same_bits(copy_matrices(basis), copy_matrices(expected)));
}

BOOST_AUTO_TEST_CASE(a_fit_reports_is_cancelled_and_throws) {
    Basis basis = observe({rows, columns});
    basis.fit();
    const auto before = copy_matrices(basis);
    CHECK_REFUSED(cancelled, "basis", basis.fit([](std::int64_t done, std::int64_t) { return done == 1; }));
    BOOST_CHECK_THROW(basis.fit([](std::int64_t, std::int64_t) -> bool { throw std::length_error("from the report"); }),
                      std::length_error);
    BOOST_TEST(host::same_bits(copy_matrices(basis), before));  // those of the last fit
    basis.observe(dense(gradients[0]));
    CHECK_REFUSED(cancelled, "basis", basis.fit([](std::int64_t, std::int64_t) { return true; }));
    BOOST_TEST(!basis.state().fitted);
    std::vector<std::int64_t> seen;
    basis.fit([&](std::int64_t done, std::int64_t total) {
        BOOST_TEST(total == 2);
        seen.push_back(done);
        return false;
    });
    BOOST_TEST(seen == (std::vector<std::int64_t>{0, 1, 2}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(refuses_options_by_name) {
    CHECK_REFUSED(invalid_argument, "rows and columns must be 1 or more; got 0 and 4", Basis(context, {0, 4}));
    CHECK_REFUSED(invalid_argument, "got 4 and -1", Basis(context, {4, -1}));
    CHECK_REFUSED(unsupported, "2^30", Basis(context, {4, std::int64_t{1} << 40}));
    CHECK_REFUSED(invalid_argument, "row_directions must be between 0 and 6; got 7", Basis(context, {6, 9, 7}));
    CHECK_REFUSED(invalid_argument, "column_directions", Basis(context, {6, 9, 0, -1}));
}

BOOST_AUTO_TEST_CASE(refuses_gradients_by_name_and_adds_nothing) {
    const std::vector<float> zeros(rows * columns);
    Basis basis(context, {rows, columns});
    CHECK_REFUSED(invalid_state, "no gradient", basis.fit());
    CHECK_REFUSED(invalid_state, "speft_fit_basis", basis.matrices());
    basis.observe(dense(zeros));
    CHECK_REFUSED(invalid_argument, "all of them are 0", basis.fit());
    basis.observe(dense(gradients[0]));
    basis.fit();
    const auto before = copy_matrices(basis);

    const std::vector<float> &values = gradients[1];
    std::vector<float> broken = values;
    broken[7] = std::numeric_limits<float>::infinity();
    CHECK_REFUSED(invalid_argument, "infinity", basis.observe(dense(broken)));
    broken[7] = std::numeric_limits<float>::quiet_NaN();
    CHECK_REFUSED(invalid_argument, "NaN", basis.observe(dense(broken)));
    CHECK_REFUSED(invalid_argument, "[6, 9]", basis.observe(Gradient::dense(view(values, {columns, rows}))));
    const std::vector<std::int64_t> integers(rows * columns);
    CHECK_REFUSED(invalid_argument, "int64", basis.observe(Gradient::dense(view(integers, {rows, columns}))));
    CHECK_REFUSED(invalid_argument, "VALUES", basis.observe(Gradient::values(values)));
    const TensorView x(values.data(), {2, columns}), dy(values.data(), {3, rows});
    CHECK_REFUSED(invalid_argument, "dy", basis.observe(Gradient::inputs(x)));
    CHECK_REFUSED(invalid_argument, "dy", basis.observe(Gradient::activations(x, dy)));
    BOOST_TEST(basis.state().observations == 2);
    BOOST_TEST(host::same_bits(copy_matrices(basis), before));  // still fitted
}

BOOST_AUTO_TEST_CASE(calls_that_meet_a_fit_are_busy) {
    Basis first = observe({rows, columns}), second(context, {rows, columns});
    Context elsewhere = host::make_context();
    Basis stranger(elsewhere, {rows, columns});
    int met = 0;
    // The report holds the fit open until the other thread has come back.
    first.fit([&](std::int64_t, std::int64_t) {
        std::thread([&] {
            met += !host::message_of<busy>([&] { second.observe(dense(gradients[0])); }).empty();
            met += !host::message_of<busy>([&] { first.state(); }).empty();
            stranger.observe(dense(gradients[0]));
        }).join();
        return false;
    });
    BOOST_TEST(met == 6);
    BOOST_TEST(first.state().fitted);
    BOOST_TEST(second.state().observations == 0);
    BOOST_TEST(stranger.state().observations == 3);
}

BOOST_AUTO_TEST_CASE(outlives_its_context_and_moves) {
    Basis basis = observe({rows, columns});
    context.close();
    Basis moved = std::move(basis);
    BOOST_TEST(!basis);
    moved.fit();
    basis = std::move(moved);
    BOOST_TEST(basis.state().fitted);
    basis.close();
    basis.close();
    CHECK_REFUSED(invalid_argument, "basis", basis.fit());
}

BOOST_AUTO_TEST_CASE(takes_memory_of_the_hosts_and_gives_it_back) {
    std::int64_t blocks = 0;
    bool fail = false;
    ContextOptions options;
    options.allocator = Allocator{[&](std::uint64_t bytes, std::uint64_t alignment, void *) -> void * {
                                      if (fail) throw std::length_error("from the pool");
                                      void *memory = nullptr;
                                      if (posix_memalign(&memory, alignment, bytes + 1) != 0) throw std::bad_alloc();
                                      ++blocks;
                                      return memory;
                                  },
                                  [&](void *memory, std::uint64_t, void *) {
                                      --blocks;
                                      std::free(memory);
                                  }};
    context = Context(options);
    Basis basis(context, {rows, columns});
    context.close();
    fail = true;
    BOOST_CHECK_THROW(basis.observe(dense(gradients[0])), std::length_error);
    fail = false;
    BOOST_TEST(basis.state().observations == 0);
    basis.observe(dense(gradients[0]));
    basis.fit();
    BOOST_TEST(blocks > 0);
    basis.close();
    BOOST_TEST(blocks == 0);
}

BOOST_AUTO_TEST_SUITE_END()
