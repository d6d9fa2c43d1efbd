#include "data.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>
#include <stdexcept>

#include "python_random.h"

namespace {

constexpr double clear_rating = 0.5;  // nearer to 0 the raters did not agree on a polarity
constexpr std::size_t largest_evaluation = 1000;

struct Rated {
    bool positive;
    std::string text;
};

std::vector<Rated> read_rated_texts(const std::string &path) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error(path + ": cannot be read");
    std::vector<Rated> rows;
    for (std::string line; std::getline(file, line);) {
        if (!line.empty() && line.back() == '\r') line.pop_back();
        const std::size_t first = line.find('\t'), second = line.find('\t', first + 1);
        if (second == std::string::npos) throw std::runtime_error(path + ": expected three columns: " + line);
        const double rating = std::stod(line.substr(first + 1, second - first - 1));
        if (std::abs(rating) >= clear_rating) rows.push_back({rating > 0, line.substr(second + 1)});
    }
    return rows;
}

std::vector<std::size_t> sorted_by_length(const Rows &rows, std::vector<std::size_t> order) {
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return rows.tokens[a].size() < rows.tokens[b].size(); });
    return order;
}

std::vector<Batch> cut(const std::vector<std::size_t> &order, std::size_t size) {
    std::vector<Batch> batches;
    for (std::size_t at = 0; at < order.size(); at += size)
        batches.emplace_back(order.begin() + static_cast<std::ptrdiff_t>(at),
                             order.begin() + static_cast<std::ptrdiff_t>(std::min(at + size, order.size())));
    return batches;
}

}  // namespace

Dataset load_dataset(const std::string &path, std::size_t most, const Tokenizer &tokenizer) {
    std::vector<Rated> rated = read_rated_texts(path);
    PythonRandom("split").shuffle(rated);
    if (most && most < rated.size()) rated.resize(most);
    const std::size_t size = std::min(largest_evaluation, rated.size() / 5);
    if (size == 0) throw std::runtime_error(path + ": expected at least 5 rows");
    Dataset dataset;
    for (std::size_t i = 0; i < rated.size(); ++i) {
        if (i >= size && i < 2 * size) continue;
        Rows &part = i < size ? dataset.held_out : dataset.train;
        part.tokens.push_back(tokenizer.encode(rated[i].text));
        part.labels.push_back(rated[i].positive);
    }
    return dataset;
}

std::vector<Batch> in_order_of_length(const Rows &rows, std::size_t size) {
    std::vector<std::size_t> order(rows.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    return cut(sorted_by_length(rows, order), size);
}

std::vector<Batch> shuffled(const Rows &rows, std::size_t count, std::size_t size, const std::string &seed) {
    PythonRandom generator(seed);
    std::vector<std::size_t> order;
    while (order.size() < count * size) {
        const std::vector<std::size_t> all = generator.sample_all(rows.size());
        order.insert(order.end(), all.begin(), all.end());
    }
    std::vector<Batch> batches;
    for (std::size_t at = 0; at < count * size; at += 16 * size) {
        const std::size_t end = std::min(at + 16 * size, count * size);
        const std::vector<std::size_t> pool(order.begin() + static_cast<std::ptrdiff_t>(at),
                                            order.begin() + static_cast<std::ptrdiff_t>(end));
        std::vector<Batch> cuts = cut(sorted_by_length(rows, pool), size);
        generator.shuffle(cuts);
        batches.insert(batches.end(), cuts.begin(), cuts.end());
    }
    return batches;
}
