// tokens VOCABULARY FILE        prints the tokens of each line of FILE
// tokens VOCABULARY FILE ROWS   FILE has rated texts: prints the tokens of those held out, then four batches of
//                               the others, of ROWS rows each
#include <fstream>
#include <iostream>

#include "data.h"

template <class Numbers>
void print(const Numbers &numbers) {
    for (std::size_t i = 0; i < numbers.size(); ++i) std::cout << (i ? " " : "") << numbers[i];
    std::cout << '\n';
}

int main(int count, char **arguments) {
    if (count < 3) return 2;
    const Tokenizer tokenizer(arguments[1], 48);
    if (count == 3) {
        std::ifstream file(arguments[2]);
        for (std::string line; std::getline(file, line);) print(tokenizer.encode(line));
        return 0;
    }
    const Dataset dataset = load_dataset(arguments[2], 0, tokenizer);
    for (const auto &tokens : dataset.held_out.tokens) print(tokens);
    for (const Batch &batch : shuffled(dataset.train, 4, std::stoul(arguments[3]), "training 0")) print(batch);
    return 0;
}
