// A network with a training loop of its own, tuned sparsely: y = v · tanh(W x), W of 32 × 16 weights.
//
// The world has changed: it is the network itself, but for 8 weights of W. libspeft trains 24 weights, which move while
// it does: those that have changed least are dropped for those with the largest gradients (SpIEL). So it finds the 8.
// The adapter is saved, taken off, and put on again.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <sstream>
#include <vector>

#include <speft/speft.hpp>

namespace {

constexpr std::int64_t inputs = 16, hidden = 32, examples = 256, changed = 8, trained = 24, steps = 600;

using Vector = std::vector<float>;

struct Network {
    Vector w = Vector(hidden * inputs), v = Vector(hidden);
};

// What a forward pass leaves for the backward one: the states [examples, hidden] and the outputs [examples].
struct Pass {
    Vector states = Vector(examples * hidden), outputs = Vector(examples);
};

Vector draw(std::mt19937 &generator, std::int64_t count, float deviation) {
    std::normal_distribution<float> distribution(0, deviation);
    Vector values(static_cast<std::size_t>(count));
    for (float &value : values) value = distribution(generator);
    return values;
}

Pass run(const Network &network, const Vector &x) {
    Pass pass;
    for (std::int64_t e = 0; e < examples; ++e)
        for (std::int64_t h = 0; h < hidden; ++h) {
            float sum = 0;
            for (std::int64_t i = 0; i < inputs; ++i) sum += network.w[h * inputs + i] * x[e * inputs + i];
            const float state = std::tanh(sum);
            pass.states[e * hidden + h] = state;
            pass.outputs[e] += network.v[h] * state;
        }
    return pass;
}

// Half the mean squared error, and its slopes at what tanh is taken of: [examples, hidden].
float measure(const Network &network, const Pass &pass, const Vector &targets, Vector &slopes) {
    float loss = 0;
    for (std::int64_t e = 0; e < examples; ++e) {
        const float error = (pass.outputs[e] - targets[e]) / examples;
        loss += error * (pass.outputs[e] - targets[e]) / 2;
        for (std::int64_t h = 0; h < hidden; ++h) {
            const float state = pass.states[e * hidden + h];
            slopes[e * hidden + h] = error * network.v[h] * (1 - state * state);
        }
    }
    return loss;
}

void tune() {
    std::mt19937 generator(1);
    Network network;
    network.w = draw(generator, hidden * inputs, 0.25f);
    network.v = draw(generator, hidden, 1);
    const Vector x = draw(generator, examples * inputs, 1);
    Network world = network;
    std::vector<std::int64_t> places(hidden * inputs);
    for (std::size_t i = 0; i < places.size(); ++i) places[i] = static_cast<std::int64_t>(i);
    std::shuffle(places.begin(), places.end(), generator);
    places.resize(changed);
    for (const std::int64_t place : places) world.w[place] += 1;
    const Vector targets = run(world, x).outputs;
    const Vector original = network.w;

    speft::Context context{speft::ContextOptions{}};
    const std::vector<speft::Parameter> parameters = {{"w", {hidden, inputs}}};
    speft::AdapterOptions options;
    options.selection.method = speft::Method::spiel_ag;
    options.selection.budget = trained;
    options.selection.schedule.emplace();
    options.selection.schedule->total_steps = steps;
    options.selection.schedule->rate = 0.5;
    speft::Adapter adapter(context, parameters, options);
    adapter.bind(0, speft::view(network.w, {hidden, inputs}));

    // The layer's input and the slopes at its output are all that libspeft needs: no gradient of W is formed here.
    Vector slopes(examples * hidden);
    const auto gradient = [&] {
        return speft::Gradient::activations(speft::view(x, {examples, inputs}),
                                            speft::view(slopes, {examples, hidden}));
    };
    const auto count_found = [&] {
        const std::vector<std::int64_t> mask = adapter.mask(0);
        return std::count_if(places.begin(), places.end(), [&](std::int64_t place) {
            return std::binary_search(mask.begin(), mask.end(), place);
        });
    };
    const float before = measure(network, run(network, x), targets, slopes);
    adapter.select();
    const auto found_before = count_found();

    speft::Hyperparameters all;
    for (std::int64_t step = 0; step < steps; ++step) {
        measure(network, run(network, x), targets, slopes);
        adapter.accumulate(0, gradient());
        all.learning_rate = 0.05 * (1 - static_cast<double>(step) / steps);
        adapter.step(all);
        adapter.reselect(); // which does nothing unless it is due
    }
    const float after = measure(network, run(network, x), targets, slopes);
    std::printf("of %d weights %d are trained; of the %d that differ, %d are among them at first, and %d at the end\n",
                int(hidden * inputs), int(trained), int(changed), int(found_before), int(count_found()));
    std::printf("loss %.4f before, %.4f after %d steps\n", before, after, int(steps));

    const Vector tuned = network.w;
    std::stringstream file; // or a path
    adapter.save(file);
    adapter.unmerge();
    std::printf("taken off: the weights are %s\n",
                network.w == original ? "the original ones" : "NOT the original ones");
    adapter.close();

    speft::Adapter loaded = speft::Adapter::load(context, file);
    loaded.bind(loaded.position("w"), speft::view(network.w, {hidden, inputs}));
    loaded.merge();
    std::printf("loaded and put on: the weights are %s, from %zu bytes\n",
                network.w == tuned ? "the tuned ones" : "NOT the tuned ones", file.str().size());
}

}  // namespace

int main() {
    try {
        tune();
    } catch (const speft::error &failure) {
        std::fprintf(stderr, "error: %s (%s)\n", failure.what(), speft::name(failure.status()));
        return 1;
    }
    return 0;
}
