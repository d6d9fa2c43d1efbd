// What the tests' host brings: a small model of three parameters, and the few lines that every training program has.
#pragma once

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <speft/speft.hpp>

namespace host {

inline speft::Context make_context(int threads = 1) {
    speft::ContextOptions options;
    options.backend = "cpu";
    options.threads = threads;
    return speft::Context(options);
}

// Multiples of 2^-7 in [-1, 1): all sums of a test's size are exact.
inline std::vector<float> make_values(std::size_t count, std::uint32_t seed) {
    std::vector<float> values(count);
    std::uint32_t state = seed * 2654435761u + 1u;
    for (float &value : values) {
        state = state * 1664525u + 1013904223u;
        value = (static_cast<float>(state >> 24) - 128.0f) / 128.0f;
    }
    return values;
}

inline std::size_t count_scalars(const speft::Shape &shape) {
    std::size_t count = 1;
    for (const std::int64_t extent : shape) count *= static_cast<std::size_t>(extent);
    return count;
}

// Two sparse matrices and a dense vector.
inline std::vector<speft::Parameter> declare_model() {
    std::vector<speft::Parameter> parameters = {{"query.weight", {12, 8}}, {"value.weight", {8, 16}}, {"bias", {5}}};
    parameters[2].role = speft::Role::dense;
    return parameters;
}

class Model {
public:
    explicit Model(std::uint32_t seed = 1) : parameters(declare_model()) {
        for (std::size_t i = 0; i < parameters.size(); ++i)
            weights.push_back(make_values(count_scalars(parameters[i].shape), seed + static_cast<std::uint32_t>(i)));
    }

    speft::Adapter make_adapter(speft::Context &context, const speft::AdapterOptions &options) {
        speft::Adapter adapter(context, parameters, options);
        bind(adapter);
        return adapter;
    }
    void bind(speft::Adapter &adapter) {
        for (std::size_t i = 0; i < parameters.size(); ++i)
            adapter.bind(static_cast<std::int64_t>(i), speft::view(weights[i], parameters[i].shape));
    }
    std::vector<float> gradient(std::size_t parameter, std::uint32_t seed) const {
        return make_values(weights[parameter].size(), 1000 + 10 * seed + static_cast<std::uint32_t>(parameter));
    }
    void observe(speft::Adapter &adapter, std::uint32_t seed) const {
        for (std::size_t i = 0; i < parameters.size(); ++i) {
            const auto values = gradient(i, seed);
            adapter.observe(static_cast<std::int64_t>(i),
                            speft::Gradient::dense(speft::view(values, parameters[i].shape)));
        }
        adapter.finish_observation(1);
    }
    void accumulate(speft::Adapter &adapter, std::uint32_t seed) const {
        for (std::size_t i = 0; i < parameters.size(); ++i) {
            const auto values = gradient(i, seed);
            adapter.accumulate(static_cast<std::int64_t>(i),
                               speft::Gradient::dense(speft::view(values, parameters[i].shape)));
        }
    }
    void train(speft::Adapter &adapter, std::uint32_t seed) const {
        accumulate(adapter, seed);
        adapter.step();
    }

    std::vector<speft::Parameter> parameters;
    std::vector<std::vector<float>> weights;
};

inline speft::AdapterOptions choose(speft::Method method, std::int64_t budget = 9) {
    speft::AdapterOptions options;
    options.selection.method = method;
    options.selection.budget = budget;
    return options;
}

inline bool same_bits(const std::vector<float> &one, const std::vector<float> &other) {
    return one.size() == other.size() && std::memcmp(one.data(), other.data(), one.size() * sizeof(float)) == 0;
}

template <class T>
std::vector<T> copy(speft::span<const T> values) {
    return std::vector<T>(values.begin(), values.end());
}

// The k largest absolute values, the first one among equals, as a sorted list.
template <class Value>
std::vector<std::int64_t> find_largest(const std::vector<Value> &values, std::size_t k) {
    std::vector<std::int64_t> order(values.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t one, std::int64_t other) {
        return std::abs(values[static_cast<std::size_t>(one)]) > std::abs(values[static_cast<std::size_t>(other)]);
    });
    order.resize(k);
    std::sort(order.begin(), order.end());
    return order;
}

// What `call` throws as this class: its message. Anything else fails the test.
template <class Error, class Function>
std::string message_of(Function &&call) {
    try {
        call();
    } catch (const Error &failure) {
        return failure.what();
    }
    BOOST_ERROR("nothing was thrown");
    return {};
}

inline bool contains(const std::string &text, const std::string &part) {
    return text.find(part) != std::string::npos;
}

}  // namespace host

// `call` throws `type`, and the message names `part`.
#define CHECK_REFUSED(type, part, call)                                                           \
    do {                                                                                          \
        const std::string told_ = host::message_of<speft::type>([&] { call; });                   \
        BOOST_TEST(host::contains(told_, part), #call << " says '" << told_ << "', without " << part); \
    } while (false)
