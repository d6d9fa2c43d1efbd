// BERT's lower-casing WordPiece tokenizer for texts of Latin letters, as Hugging Face's is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

class Tokenizer {
public:
    // `vocabulary` has a word piece a line; texts are cut to `most` tokens.
    Tokenizer(const std::string &vocabulary, std::size_t most);

    // [CLS], the word pieces of a UTF-8 text, [SEP].
    std::vector<std::int64_t> encode(const std::string &text) const;

private:
    std::int64_t number_of(const std::string &piece) const;
    void add_word(const std::string &word, std::vector<std::int64_t> &tokens) const;

    std::unordered_map<std::string, std::int64_t> numbers_;
    std::size_t most_;
    std::int64_t unknown_, begin_, end_;
};
