#include "core/storage/tensor_reader.h"

#include <algorithm>

#include "core/base/tensor_view.h"
#include "core/storage/defect.h"
#include "core/storage/json.h"

namespace speft {

std::vector<std::string> TensorReader::names_with_prefix(const std::string &prefix) const {
    std::vector<std::string> names;
    for (auto tensor = tensors_.lower_bound(prefix); tensor != tensors_.end(); ++tensor) {
        if (!tensor->first.starts_with(prefix)) break;
        names.push_back(tensor->first);
    }
    return names;
}

const Tensor &TensorReader::find(const std::string &name, std::initializer_list<std::string_view> types) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw Defect("tensor " + quote(name) + " is missing");
    const Tensor &tensor = found->second;
    if (std::ranges::find(types, tensor.type) == types.end())
        throw Defect("tensor " + quote(name) + " has type " + quote(tensor.type) + ", expected " +
                     std::string(*types.begin()));
    return tensor;
}

Tensor TensorReader::take(const std::string &name, std::initializer_list<std::string_view> types,
                          const std::vector<std::int64_t> &shape) {
    const Tensor &tensor = find(name, types);
    if (tensor.shape != shape)
        throw Defect("tensor " + quote(name) + " has shape " + shorten(describe(tensor.shape)) + ", expected " +
                     shorten(describe(shape)));
    return std::move(tensors_.extract(name).mapped());
}

Tensor TensorReader::take_vector(const std::string &name, std::initializer_list<std::string_view> types) {
    const Tensor &tensor = find(name, types);
    if (tensor.shape.size() != 1)
        throw Defect("tensor " + quote(name) + " has shape " + shorten(describe(tensor.shape)) +
                     ", expected one axis");
    return std::move(tensors_.extract(name).mapped());
}

void TensorReader::finish() const {
    if (!tensors_.empty()) throw Defect("tensor " + quote(tensors_.begin()->first) + " is none of the adapter's");
}

}  // namespace speft
