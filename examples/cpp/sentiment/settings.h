// What a comparison is run with: the same for all methods, made by the command line.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

struct Settings {
    std::string data;        // rated texts: number, rating, text, between tabs
    std::string checkpoint;  // a Hugging Face directory of a BERT
    std::string out = "out/demo-cpp";
    std::vector<std::string> methods = {"head-only", "random", "gradient", "spiel-ag"};
    std::size_t steps = 160;
    std::size_t batch_size = 32;
    std::size_t salience_batches = 16;
    std::size_t max_tokens = 48;
    std::size_t max_rows = 0;  // 0: all
    double density = 0.005;
    std::uint64_t seed = 0;
    std::string product;     // libspeft's implementation of products while saliences are observed; empty: the fastest

    std::string folder_of(const std::string &method) const { return out + "/" + method; }
};
