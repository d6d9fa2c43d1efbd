// Fine-tunes MiniLM-L6 sparsely and in full, and compares: start here, with --help. Each method trains in a process of
// its own, so that its peak memory is its own, and is verified in another.
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>

#include <speft/speft.hpp>

#include "settings.h"
#include "train.h"

namespace {

constexpr const char *usage = R"(sentiment --data FILE --model DIRECTORY [options]

Tells positive from negative movie-review snippets with MiniLM-L6 and a new head, tuned in several ways.

  --data FILE             rated texts: number, rating, text, between tabs
  --model DIRECTORY       a Hugging Face checkpoint of a BERT: config.json, model.safetensors, vocab.txt
  --out DIRECTORY         for the report and the adapters (out/demo-cpp)
  --methods NAME...       of head-only, random, gradient, spiel-ag (all)
  --steps N               training steps (160)
  --salience-batches N    batches by whose gradients a mask is chosen (16)
  --max-rows N            use only so many rows (all)
  --product NAME          libspeft's implementation of dense products: "onednn" say (the fastest there is)
)";

using Figures = std::map<std::string, double>;

std::size_t read_count(const std::string &option, const std::string &text) {
    std::size_t end = 0;
    long number = 0;
    try {
        number = std::stol(text, &end);
    } catch (const std::logic_error &) {
        end = 0;
    }
    if (end == 0 || end != text.size() || number < 1)
        throw std::runtime_error(option + ": expected a whole number of at least 1, got '" + text + "'");
    return static_cast<std::size_t>(number);
}

// The settings, and what a child process is to do: "", "train" or "verify".
Settings read_command_line(const std::vector<std::string> &words, std::string &task) {
    Settings settings;
    const std::map<std::string, std::function<void(const std::string &, const std::string &)>> options = {
        {"--data", [&](auto &, auto &value) { settings.data = value; }},
        {"--model", [&](auto &, auto &value) { settings.checkpoint = value; }},
        {"--out", [&](auto &, auto &value) { settings.out = value; }},
        {"--product", [&](auto &, auto &value) { settings.product = value; }},
        {"--steps", [&](auto &option, auto &value) { settings.steps = read_count(option, value); }},
        {"--salience-batches",
         [&](auto &option, auto &value) { settings.salience_batches = read_count(option, value); }},
        {"--max-rows", [&](auto &option, auto &value) { settings.max_rows = read_count(option, value); }},
        {"--task", [&](auto &, auto &value) { task = value; }}};
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (words[i] == "--help") {
            std::cout << usage;
            std::exit(EXIT_SUCCESS);
        }
        if (words[i] == "--methods") {
            settings.methods.clear();
            while (i + 1 < words.size() && words[i + 1].compare(0, 2, "--") != 0) {
                settings.methods.push_back(words[++i]);
                if (!is_method(words[i])) throw std::runtime_error("--methods: there is no '" + words[i] + "'");
            }
            continue;
        }
        const auto option = options.find(words[i]);
        if (option == options.end()) throw std::runtime_error("unknown option '" + words[i] + "'; see --help");
        if (i + 1 == words.size()) throw std::runtime_error(words[i] + ": a value is missing");
        option->second(words[i], words[i + 1]);
        ++i;
    }
    if (settings.data.empty() || settings.checkpoint.empty() || settings.methods.empty())
        throw std::runtime_error("--data, --model and a method are needed; see --help");
    return settings;
}

// This program again, for one method.
void run_child(const std::vector<std::string> &words, const std::string &task, const std::string &method) {
    std::vector<std::string> all = {"sentiment"};
    all.insert(all.end(), words.begin(), words.end());
    all.insert(all.end(), {"--task", task, "--methods", method});
    std::vector<char *> arguments;
    for (std::string &word : all) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const pid_t child = fork();
    if (child == 0) {
        execv("/proc/self/exe", arguments.data());
        std::perror("sentiment");
        _exit(127);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) throw std::runtime_error("no process could be started");
    if (status) throw std::runtime_error("the process that was to " + task + " " + method + " failed");
}

Figures read_figures(const std::string &path) {
    std::ifstream file(path);
    Figures figures;
    std::string key;
    for (double value; file >> key >> value;) figures[key] = value;
    if (figures.empty()) throw std::runtime_error(path + ": cannot be read");
    return figures;
}

std::string first_after(const std::string &path, const std::string &key) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);)
        if (line.compare(0, key.size(), key) == 0) return line.substr(line.find(':') + 2);
    return "unknown";
}

std::string quote(const std::string &text) {
    std::string quoted = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') quoted += '\\';
        quoted += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    return quoted + '"';
}

std::string number(double value) {
    std::ostringstream text;
    text.precision(10);
    text << value;
    return text.str();
}

const char *truth(bool value) { return value ? "true" : "false"; }

std::string environment() {
    utsname system;
    uname(&system);
    char date[32];
    const std::time_t seconds = std::time(nullptr);
    std::strftime(date, sizeof date, "%FT%T+00:00", std::gmtime(&seconds));
    return "{\"date\": " + quote(date) + ", \"processor\": " + quote(first_after("/proc/cpuinfo", "model name")) +
           ", \"cores\": " + number(static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN))) +
           ", \"memory_bytes\": " +
           number(static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE))) +
           ", \"system\": " + quote(std::string(system.sysname) + " " + system.release) +
           ", \"versions\": {\"speft\": " + quote(speft::version()) + ", \"C++\": " + number(__cplusplus) + "}}";
}

void write_report(const Settings &settings, const std::vector<Figures> &results, bool reload_identical,
                  bool unmerge_bit_exact, double seconds) {
    std::ostringstream json;
    json << "{\n  \"methods\": [";
    bool sparse = false;
    for (std::size_t i = 0; i < results.size(); ++i) {
        const std::string &name = settings.methods[i];
        json << (i ? ",\n    {" : "\n    {") << "\"name\": " << quote(name);
        for (const char *key : {"accuracy", "loss", "trained", "density", "adapter_bytes", "seconds_preparing",
                                "seconds_per_step", "peak_rss_bytes"})
            json << ", " << quote(key) << ": " << number(results[i].at(key));
        if (is_sparse(name))
            json << ", \"unmerge_bit_exact\": " << truth(results[i].at("unmerge_bit_exact") == 1);
        json << "}";
        sparse = sparse || is_sparse(name);
    }
    json << "\n  ],\n";
    if (sparse)
        json << "  \"reload_identical\": " << truth(reload_identical)
             << ",\n  \"unmerge_bit_exact\": " << truth(unmerge_bit_exact) << ",\n";
    json << "  \"seconds_total\": " << number(seconds) << ",\n  \"training_texts\": "
         << number(results[0].at("training_texts")) << ",\n  \"held_out\": " << number(results[0].at("held_out"))
         << ",\n  \"settings\": {\"data\": " << quote(settings.data) << ", \"model\": " << quote(settings.checkpoint)
         << ", \"out\": " << quote(settings.out) << ", \"steps\": " << settings.steps
         << ", \"batch_size\": " << settings.batch_size << ", \"salience_batches\": " << settings.salience_batches
         << ", \"density\": " << number(settings.density) << ", \"max_tokens\": " << settings.max_tokens
         << ", \"max_rows\": " << (settings.max_rows ? std::to_string(settings.max_rows) : "null")
         << ", \"seed\": " << settings.seed << "},\n  \"environment\": " << environment() << "\n}\n";
    std::ofstream file(settings.out + "/report.json");
    file << json.str();
    if (!file.flush()) throw std::runtime_error(settings.out + "/report.json: cannot be written");
}

int compare(const Settings &settings, const std::vector<std::string> &words) {
    const auto begun = std::chrono::steady_clock::now();
    std::vector<Figures> results;
    bool reload_identical = true, unmerge_bit_exact = true;
    for (const std::string &name : settings.methods) {
        std::filesystem::create_directories(settings.folder_of(name));
        run_child(words, "train", name);
        results.push_back(read_figures(settings.folder_of(name) + "/result.txt"));
        if (!is_sparse(name)) continue;
        run_child(words, "verify", name);
        const Figures verified = read_figures(settings.folder_of(name) + "/verified.txt");
        reload_identical = reload_identical && verified.at("reload_identical") == 1;
        unmerge_bit_exact = unmerge_bit_exact && verified.at("unmerge_bit_exact") == 1 &&
                            results.back().at("unmerge_bit_exact") == 1;
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begun;
    write_report(settings, results, reload_identical, unmerge_bit_exact, seconds.count());

    std::printf("\n%-10s %9s %8s %16s %13s %8s %12s\n", "method", "accuracy", "loss", "trained scalars", "adapter file",
                "a step", "peak memory");
    for (std::size_t i = 0; i < results.size(); ++i) {
        const Figures &row = results[i];
        std::printf("%-10s %8.1f%% %8.3f %16.0f %10.0f kB %5.0f ms %9.0f MB\n", settings.methods[i].c_str(),
                    100 * row.at("accuracy"), row.at("loss"), row.at("trained"), row.at("adapter_bytes") / 1e3,
                    1e3 * row.at("seconds_per_step"), row.at("peak_rss_bytes") / 1e6);
    }
    if (std::any_of(settings.methods.begin(), settings.methods.end(), is_sparse))
        std::printf("\npredictions after reloading the adapter in a fresh process: %s\n"
                    "weights after unmerging, against the pretrained bits: %s\n",
                    reload_identical ? "identical" : "DIFFERENT", unmerge_bit_exact ? "identical" : "DIFFERENT");
    std::printf("%s/report.json has the figures\n", settings.out.c_str());
    return reload_identical && unmerge_bit_exact ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int count, char **arguments) {
    try {
        std::string task;
        const std::vector<std::string> words(arguments + 1, arguments + count);
        const Settings settings = read_command_line(words, task);
        if (task == "train") return train(settings, settings.methods.at(0)), EXIT_SUCCESS;
        if (task == "verify") return verify(settings, settings.methods.at(0)), EXIT_SUCCESS;
        return compare(settings, words);
    } catch (const std::exception &failure) {
        std::cerr << "error: " << failure.what() << std::endl;
        return EXIT_FAILURE;
    }
}
