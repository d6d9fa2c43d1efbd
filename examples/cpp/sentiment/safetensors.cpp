#include "safetensors.h"

#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace {

[[noreturn]] void refuse(const std::string &path, const std::string &why) {
    throw std::runtime_error(path + ": " + why);
}

// What follows `"key":` in `text`, from `at` on; npos when there is none.
std::size_t find_value(const std::string &text, const std::string &key, std::size_t at) {
    const std::size_t found = text.find('"' + key + '"', at);
    return found == std::string::npos ? found : text.find_first_not_of(": ", found + key.size() + 2);
}

// The numbers of "[1, 2]" at `at`.
std::vector<std::int64_t> read_list(const std::string &text, std::size_t at) {
    const std::size_t begin = text.find('[', at) + 1;
    std::istringstream list(text.substr(begin, text.find(']', begin) - begin));
    std::vector<std::int64_t> numbers;
    for (std::string number; std::getline(list, number, ',');) numbers.push_back(std::stoll(number));
    return numbers;
}

}  // namespace

std::map<std::string, StoredTensor> read_safetensors(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    std::uint64_t size = 0;
    if (!file.read(reinterpret_cast<char *>(&size), sizeof size) || size > 100'000'000) refuse(path, "cannot be read");
    std::string header(size, '\0');
    if (!file.read(header.data(), static_cast<std::streamsize>(size))) refuse(path, "its header is cut off");
    std::map<std::string, StoredTensor> tensors;
    // {"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},…}: names are before '{', records end with '}'.
    for (std::size_t at = 1; (at = header.find('"', at)) != std::string::npos;) {
        const std::size_t name_end = header.find('"', at + 1), record = header.find('{', name_end);
        if (record == std::string::npos) refuse(path, "its header is no list of tensors");
        const std::string name = header.substr(at + 1, name_end - at - 1);
        at = header.find('}', record);
        const std::string fields = header.substr(record, at - record);
        if (name == "__metadata__" || fields.find("\"F32\"") == std::string::npos) continue;
        StoredTensor tensor;
        tensor.shape = read_list(fields, find_value(fields, "shape", 0));
        const std::vector<std::int64_t> place = read_list(fields, find_value(fields, "data_offsets", 0));
        if (place.size() != 2 || place[0] > place[1]) refuse(path, "the place of " + name + " is none");
        tensor.values.resize(static_cast<std::size_t>(place[1] - place[0]) / sizeof(float));
        file.seekg(static_cast<std::streamoff>(sizeof size + size) + place[0]);
        if (!file.read(reinterpret_cast<char *>(tensor.values.data()), place[1] - place[0]))
            refuse(path, name + " is cut off");
        tensors.emplace(name, std::move(tensor));
    }
    return tensors;
}

double read_number(const std::string &path, const std::string &key) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    const std::size_t at = find_value(text.str(), key, 0);
    if (at == std::string::npos) refuse(path, "has no " + key);
    return std::stod(text.str().substr(at, 40));
}
