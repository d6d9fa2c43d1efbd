#include "tokenizer.h"

#include <fstream>
#include <stdexcept>

namespace {

constexpr std::size_t longest_word = 100;

// One character of UTF-8 at `at`, which moves on; U+FFFD for a byte that is none.
char32_t take(const std::string &text, std::size_t &at) {
    const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
    const unsigned lead = byte(at);
    const std::size_t length = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
    if (length == 1) return at++, lead;
    char32_t character = length ? lead & (0x7fu >> length) : 0;
    for (std::size_t i = 1; i < length; ++i) {
        if (byte(at + i) >> 6 != 2) return ++at, U'\uFFFD';
        character = character << 6 | (byte(at + i) & 0x3f);
    }
    at += length ? length : 1;
    return length ? character : U'\uFFFD';
}

void put(char32_t character, std::string &text) {
    if (character < 0x80) {
        text += static_cast<char>(character);
    } else if (character < 0x800) {
        text += static_cast<char>(0xc0 | character >> 6);
        text += static_cast<char>(0x80 | (character & 0x3f));
    } else if (character < 0x10000) {
        text += static_cast<char>(0xe0 | character >> 12);
        text += static_cast<char>(0x80 | (character >> 6 & 0x3f));
        text += static_cast<char>(0x80 | (character & 0x3f));
    } else {
        text += static_cast<char>(0xf0 | character >> 18);
        text += static_cast<char>(0x80 | (character >> 12 & 0x3f));
        text += static_cast<char>(0x80 | (character >> 6 & 0x3f));
        text += static_cast<char>(0x80 | (character & 0x3f));
    }
}

bool is_space(char32_t c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

// Not to be seen: dropped.
bool is_control(char32_t c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x202a && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f && c != 0x2065) || c == 0xfeff || c == 0xfffd;
}

// A word of its own: ASCII's signs, and what Unicode calls punctuation in the blocks that Latin texts use.
bool is_punctuation(char32_t c) {
    if (c < 0x80) return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
    return c == 0xa1 || c == 0xa7 || c == 0xab || c == 0xb6 || c == 0xb7 || c == 0xbb || c == 0xbf ||
           (c >= 0x2010 && c <= 0x2027) || (c >= 0x2030 && c <= 0x205e && c != 0x2044 && c != 0x2052) ||
           (c >= 0x3001 && c <= 0x3003) || (c >= 0x3008 && c <= 0x3011);
}

// Lower case without accents, of Latin-1 and Latin Extended-A; '.' is a letter that has no accent to lose.
char32_t fold(char32_t c) {
    static const char plain[] =  // from U+00C0
        "aaaaaa.ceeeeiiii.nooooo..uuuuy..aaaaaa.ceeeeiiii.nooooo..uuuuy.y"
        "aaaaaaccccccccdd..eeeeeeeeeegggggggghh..iiiiiiiii...jjkk.llllll."
        "...nnnnnn...oooooo..rrrrrrsssssssstttt..uuuuuuuuuuuuwwyyyzzzzzz.";
    if (c >= 'A' && c <= 'Z') return c + 32;
    if (c < 0xc0 || c > 0x17f) return c;
    if (plain[c - 0xc0] != '.') return static_cast<unsigned char>(plain[c - 0xc0]);
    if (c < 0xdf) return c == 0xd7 ? c : c + 32;
    // Capitals stand before their small letters: at even places but between U+0139 and U+0148.
    if (c < 0x100 || c == 0x138 || c == 0x149 || c >= 0x178) return c;
    const bool capital = c % 2 == (c >= 0x139 && c < 0x149);
    return capital ? c + 1 : c;
}

std::vector<std::string> split_words(const std::string &text) {
    std::vector<std::string> words(1);
    for (std::size_t at = 0; at < text.size();) {
        const char32_t character = take(text, at);
        if (is_space(character)) {
            if (!words.back().empty()) words.emplace_back();
        } else if (is_control(character) || (character >= 0x300 && character < 0x370)) {  // or an accent by itself
            continue;
        } else if (is_punctuation(character)) {
            if (words.back().empty()) words.pop_back();
            words.emplace_back();
            put(character, words.back());
            words.emplace_back();
        } else {
            put(fold(character), words.back());
        }
    }
    if (words.back().empty()) words.pop_back();
    return words;
}

}  // namespace

Tokenizer::Tokenizer(const std::string &vocabulary, std::size_t most) : most_(most) {
    std::ifstream file(vocabulary);
    for (std::string piece; std::getline(file, piece);) {
        const auto number = static_cast<std::int64_t>(numbers_.size());
        numbers_.emplace(piece, number);
    }
    unknown_ = number_of("[UNK]");
    begin_ = number_of("[CLS]");
    end_ = number_of("[SEP]");
    if (unknown_ < 0 || begin_ < 0 || end_ < 0) throw std::runtime_error(vocabulary + ": expected BERT's vocabulary");
}

std::int64_t Tokenizer::number_of(const std::string &piece) const {
    const auto found = numbers_.find(piece);
    return found == numbers_.end() ? -1 : found->second;
}

std::vector<std::int64_t> Tokenizer::encode(const std::string &text) const {
    std::vector<std::int64_t> tokens = {begin_};
    for (const std::string &word : split_words(text)) add_word(word, tokens);
    if (tokens.size() > most_ - 1) tokens.resize(most_ - 1);
    tokens.push_back(end_);
    return tokens;
}

// The longest piece first, then the longest of the rest; a word that has none all through is unknown.
void Tokenizer::add_word(const std::string &word, std::vector<std::int64_t> &tokens) const {
    std::size_t characters = 0;
    for (const char byte : word) characters += (byte & 0xc0) != 0x80;
    std::vector<std::int64_t> pieces;
    for (std::size_t begin = 0; begin < word.size() && characters <= longest_word;) {
        std::size_t end = word.size();
        std::int64_t number = -1;
        for (; end > begin; --end) {
            number = number_of((begin ? "##" : "") + word.substr(begin, end - begin));
            if (number >= 0) break;
        }
        if (number < 0) {
            pieces.clear();
            break;
        }
        pieces.push_back(number);
        begin = end;
    }
    if (pieces.empty()) pieces.push_back(unknown_);
    tokens.insert(tokens.end(), pieces.begin(), pieces.end());
}
