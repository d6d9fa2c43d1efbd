#include "core/storage/adapter_record.h"

#include <set>
#include <string_view>

#include "core/base/tensor_view.h"
#include "core/base/utf8.h"
#include "core/storage/defect.h"
#include "core/storage/json.h"
#include "core/storage/shape.h"
#include "speft/adapter.h"

namespace speft {

namespace {

std::string name_in_words(const ParameterRecord &parameter) { return "parameter " + quote(parameter.name); }

std::uint64_t check_shape(const ParameterRecord &parameter) {
    const std::optional<std::uint64_t> count = count_scalars(parameter.shape);
    if (!count || *count >= std::uint64_t{1} << 32)
        throw Defect(name_in_words(parameter) + " has shape " + shorten(describe(parameter.shape)) +
                     ", expected sizes >= 0 and fewer than 2^32 scalars");
    return *count;
}

void check_name(const std::string &name) {
    if (name.empty()) throw Defect("a parameter has an empty name");
    if (!is_utf8(name)) throw Defect("parameter name " + quote(name) + " is not valid UTF-8");
    if (name.find('\0') != name.npos) throw Defect("parameter name " + quote(name) + " contains a NUL");
}

void check_mask(const ParameterRecord &parameter) {
    const std::uint64_t size = check_shape(parameter);
    std::uint64_t next = 0;
    for (const std::uint32_t index : parameter.indices) {
        if (index < next || index >= size)
            throw Defect("index " + std::to_string(index) + " of " + name_in_words(parameter) +
                         " must rise and stay below " + std::to_string(size));
        next = std::uint64_t{index} + 1;
    }
}

void check_deltas(const ParameterRecord &parameter) {
    const bool dense = parameter.role == SPEFT_ROLE_DENSE;
    if (dense && !parameter.indices.empty()) throw Defect(name_in_words(parameter) + " is dense but has indices");
    const std::uint64_t expected = dense ? check_shape(parameter) : parameter.indices.size();
    if (parameter.deltas.size() != expected)
        throw Defect(name_in_words(parameter) + " has " + std::to_string(parameter.deltas.size()) +
                     " deltas, expected " + std::to_string(expected));
}

}  // namespace

void check_declarations(const AdapterRecord &record) {
    if (!(record.density >= 0 && record.density <= 1))
        throw Defect("density must be in [0, 1], got " + std::to_string(record.density));
    if (record.budget < 0) throw Defect("budget must be >= 0, got " + std::to_string(record.budget));
    if (record.density > 0 && record.budget > 0) throw Defect("density and budget are both given");
    if (record.steps < 0) throw Defect("steps must be >= 0, got " + std::to_string(record.steps));

    std::uint64_t scalars = 0;
    std::set<std::string_view> names;
    for (const ParameterRecord &parameter : record.parameters) {
        check_name(parameter.name);
        if (!names.insert(parameter.name).second) throw Defect("two parameters are named " + quote(parameter.name));
        if (parameter.role != SPEFT_ROLE_SPARSE && parameter.role != SPEFT_ROLE_DENSE)
            throw Defect(name_in_words(parameter) + " has the unknown role " + std::to_string(parameter.role));
        if (parameter.group < 0)
            throw Defect(name_in_words(parameter) + " has group " + std::to_string(parameter.group) +
                         ", expected one >= 0");
        scalars += check_shape(parameter);
    }
    if (scalars == 0) throw Defect("there is no parameter with a scalar");
}

void check_record(const AdapterRecord &record) {
    check_declarations(record);
    for (const ParameterRecord &parameter : record.parameters) {
        check_mask(parameter);
        check_deltas(parameter);
    }
}

}  // namespace speft
