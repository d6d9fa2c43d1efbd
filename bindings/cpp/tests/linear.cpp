// Products of a linear layer with the deltas of an unmerged adapter. Those in a basis are in sparsegrad.cpp.
#include "host.h"

#include <algorithm>
#include <limits>

using namespace speft;

namespace {

constexpr std::int64_t tokens = 3;

// y = x Wᵀ of W [12, 8], and y = x W of the same as [in, out], trained and unmerged: `merged` is W + Δ.
struct Unmerged {
    Context context = host::make_context();
    host::Model model;
    Adapter adapter = model.make_adapter(context, host::choose(Method::random, 60));
    std::vector<float> merged;
    std::vector<float> few = host::make_values(tokens * 8, 5), many = host::make_values(tokens * 12, 6);

    Unmerged() {
        adapter.select();
        model.train(adapter, 1);
        merged = model.weights[0];
        adapter.unmerge();
    }

    // few · matrixᵀ [tokens, 12], and many · matrix [tokens, 8].
    std::vector<double> up(const std::vector<float> &matrix) const { return multiply(few, matrix, 8, 12, 8, 1); }
    std::vector<double> down(const std::vector<float> &matrix) const { return multiply(many, matrix, 12, 8, 1, 8); }
    std::vector<float> delta() const {
        std::vector<float> difference(merged.size());
        const auto mask = adapter.mask(0);
        const auto deltas = adapter.deltas(0).values<float>();
        for (std::size_t i = 0; i < mask.size(); ++i) difference[static_cast<std::size_t>(mask[i])] = deltas[i];
        return difference;
    }
    // Sums of 12 terms and 12 more, all below 2, in float32.
    static void check_near(const std::vector<float> &found, const std::vector<double> &expected, double added = 0) {
        for (std::size_t i = 0; i < found.size(); ++i)
            BOOST_TEST(std::abs(found[i] - expected[i] - added) <=
                       24 * 24 * 2 * double(std::numeric_limits<float>::epsilon()));
    }

private:
    static std::vector<double> multiply(const std::vector<float> &x, const std::vector<float> &matrix, std::size_t in,
                                        std::size_t out, std::size_t out_stride, std::size_t in_stride) {
        std::vector<double> y(tokens * out);
        for (std::size_t i = 0; i < y.size(); ++i)
            for (std::size_t q = 0; q < in; ++q)
                y[i] += double(x[i / out * in + q]) * matrix[i % out * out_stride + q * in_stride];
        return y;
    }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(linear, Unmerged)

BOOST_AUTO_TEST_CASE(is_the_product_with_the_trained_weights) {
    std::vector<float> y(tokens * 12, 3.0f), dx(tokens * 8, 3.0f);
    adapter.linear_forward(0, view(few, {tokens, 8}), view(y, {tokens, 12}));
    adapter.linear_backward(0, view(many, {tokens, 12}), view(dx, {tokens, 8}));
    check_near(y, up(merged));
    check_near(dx, down(merged));
    BOOST_TEST(host::same_bits(model.weights[0], host::Model().weights[0]));
}

// Of a weight [in, out] the forward product is the other layout's backward one.
BOOST_AUTO_TEST_CASE(takes_weights_the_other_way) {
    LinearOptions options;
    options.layout = Layout::in_out;
    std::vector<float> y(tokens * 8), dx(tokens * 12);
    adapter.linear_forward(0, view(many, {tokens, 12}), view(y, {tokens, 8}), options);
    adapter.linear_backward(0, view(few, {tokens, 8}), view(dx, {tokens, 12}), options);
    check_near(y, down(merged));
    check_near(dx, up(merged));
}

BOOST_AUTO_TEST_CASE(gives_the_delta_alone_and_adds) {
    LinearOptions options;
    options.delta_only = true;
    std::vector<float> y(tokens * 12, 3.0f);
    adapter.linear_forward(0, view(few, {tokens, 8}), view(y, {tokens, 12}), options);
    check_near(y, up(delta()));
    options.accumulate = true;
    std::fill(y.begin(), y.end(), 3.0f);
    adapter.unbind(0);  // which needs no weights
    adapter.linear_forward(0, view(few, {tokens, 8}), view(y, {tokens, 12}), options);
    check_near(y, up(delta()), 3);
}

BOOST_AUTO_TEST_CASE(takes_sixteen_bits) {
    const std::vector<bfloat16> x(tokens * 8, bfloat16{0x3f80});  // 1.0
    few.assign(few.size(), 1.0f);
    std::vector<bfloat16> y(tokens * 12);
    adapter.linear_forward(0, view(x, {tokens, 8}), view(y, {tokens, 12}));
    const auto expected = up(merged);
    for (std::size_t i = 0; i < y.size(); ++i) {
        const std::uint32_t bits = std::uint32_t{y[i].bits} << 16;
        float found;
        std::memcpy(&found, &bits, sizeof found);
        // Rounded to 8 bits, of at most 8 · 1.
        BOOST_TEST(std::abs(found - expected[i]) <= 8.0 / 256);
    }
}

BOOST_AUTO_TEST_CASE(refuses_what_is_no_layer) {
    std::vector<float> y(tokens * 12, 3.0f);
    const auto untouched = y;
    const auto forward = [&](std::int64_t parameter, Shape x, Shape out) {
        adapter.linear_forward(parameter, TensorView(few.data(), std::move(x)),
                               MutableTensorView(y.data(), std::move(out)));
    };
    CHECK_REFUSED(invalid_argument, "[3, 12]", forward(0, {tokens, 8}, {2, 12}));
    CHECK_REFUSED(invalid_argument, "[4, 8]", forward(0, {4, 6}, {4, 8}));
    CHECK_REFUSED(invalid_argument, "'bias'", forward(2, {1, 5}, {1, 5}));
    CHECK_REFUSED(invalid_argument, "parameter", forward(3, {tokens, 8}, {tokens, 12}));
    LinearOptions options;
    options.layout = static_cast<Layout>(7);
    CHECK_REFUSED(invalid_argument, "layout",
                  adapter.linear_forward(0, view(few, {tokens, 8}), view(y, {tokens, 12}), options));
    adapter.unbind(0);
    CHECK_REFUSED(invalid_state, "not bound", forward(0, {tokens, 8}, {tokens, 12}));
    model.bind(adapter);
    adapter.merge();
    CHECK_REFUSED(invalid_state, "in the weights", forward(0, {tokens, 8}, {tokens, 12}));
    Adapter unselected = model.make_adapter(context, host::choose(Method::magnitude));
    adapter.close();
    adapter = std::move(unselected);
    CHECK_REFUSED(invalid_state, "speft_select", forward(0, {tokens, 8}, {tokens, 12}));
    BOOST_TEST(host::same_bits(y, untouched));
}

BOOST_AUTO_TEST_SUITE_END()
