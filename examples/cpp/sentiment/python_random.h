// Python's random.Random, as far as the Python demo uses it: so the same rows are held out, and batches are the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

class PythonRandom {
public:
    // As random.Random(text).
    explicit PythonRandom(const std::string &seed);

    template <class T>
    void shuffle(std::vector<T> &values) {
        for (std::size_t i = values.size(); i-- > 1;) std::swap(values[i], values[below(i + 1)]);
    }
    // As sample(range(count), count).
    std::vector<std::size_t> sample_all(std::size_t count);

private:
    std::uint32_t next();
    std::size_t below(std::size_t bound);

    std::uint32_t state_[624];
    int at_ = 624;
};
