// Texts and labels: where they come from, how they are split, how they become batches. As examples/python/sentiment has
// it, row for row.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tokenizer.h"

struct Rows {
    std::vector<std::vector<std::int64_t>> tokens;
    std::vector<std::int64_t> labels;
    std::size_t size() const { return labels.size(); }
};

struct Dataset {
    Rows train;
    Rows held_out;
};

// The rated texts of `path` (number, rating from -4 to 4, text, between tabs) that have a clear polarity, shuffled; the
// first `most` of them, all when it is 0. The first fifth, at most 1,000, is held out; the next such part is for
// validation, and not used here.
Dataset load_dataset(const std::string &path, std::size_t most, const Tokenizer &tokenizer);

// Row numbers of one batch.
using Batch = std::vector<std::size_t>;

// Every row once, similar lengths together.
std::vector<Batch> in_order_of_length(const Rows &rows, std::size_t size);
// `count` batches, going through all rows before any comes again; similar lengths share a batch.
std::vector<Batch> shuffled(const Rows &rows, std::size_t count, std::size_t size, const std::string &seed);
