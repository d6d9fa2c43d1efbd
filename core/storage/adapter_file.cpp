#include "core/storage/adapter_file.h"

#include <charconv>
#include <map>
#include <span>
#include <system_error>
#include <utility>

#include "core/base/status.h"
#include "core/base/tensor_view.h"
#include "core/storage/adapter_metadata.h"
#include "core/storage/defect.h"
#include "core/storage/gaps.h"
#include "core/storage/json.h"
#include "core/storage/progress.h"
#include "core/storage/safetensors.h"
#include "core/storage/shape.h"
#include "speft/adapter.h"

namespace speft {

namespace {

constexpr unsigned current_format = 1;
constexpr const char *format_key = "speft.format";
constexpr const char *version_key = "speft.version";
constexpr const char *adapter_key = "speft.adapter";

// A tensor's name is a parameter's name and one of these. None ends with another, so that whatever the names are, no
// two tensors share one.
constexpr const char *deltas_suffix = ".deltas";
constexpr const char *gaps_suffix = ".gaps";
constexpr const char *values_suffix = ".values";

bool is_dense(const ParameterRecord &parameter) { return parameter.role == SPEFT_ROLE_DENSE; }

// The float32 tensor of a parameter: a dense one brings its values, whatever the model had there.
std::string deltas_name(const ParameterRecord &parameter) {
    return parameter.name + (is_dense(parameter) ? values_suffix : deltas_suffix);
}

Shape deltas_shape(const ParameterRecord &parameter, std::uint64_t count) {
    return is_dense(parameter) ? parameter.shape : Shape{static_cast<std::int64_t>(count)};
}

// The one format that there is, or an error.
void check_format(const std::map<std::string, std::string> &metadata, const std::string &path) {
    const auto found = metadata.find(format_key);
    if (found == metadata.end()) throw Defect("it is not a libspeft adapter: its metadata has no \"speft.format\"");
    const std::string &text = found->second;
    unsigned format = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), format);
    if (error != std::errc() || stop != text.data() + text.size() || format == 0)
        throw Defect("\"speft.format\" must be a positive integer, got " + quote(text));
    if (format != current_format)
        refuse_unsupported("cannot load '" + path + "': it has format " + text + ", this version reads format " +
                           std::to_string(current_format));
}

const TensorEntry &find_tensor(const SafetensorsFile &file, const std::string &name, const std::string &type) {
    const auto found = file.tensors().find(name);
    if (found == file.tensors().end()) throw Defect("tensor " + quote(name) + " is missing");
    if (found->second.type != type)
        throw Defect("tensor " + quote(name) + " has type " + quote(found->second.type) + ", expected " + type);
    return found->second;
}

template <class Value>
std::vector<Value> read_values(const SafetensorsFile &file, const TensorEntry &entry) {
    std::vector<Value> values(entry.size / sizeof(Value));
    file.read(entry, std::as_writable_bytes(std::span(values)));
    return values;
}

std::vector<float> read_deltas(const SafetensorsFile &file, const ParameterRecord &parameter, std::uint64_t count) {
    const std::string name = deltas_name(parameter);
    const TensorEntry &entry = find_tensor(file, name, "F32");
    const Shape expected = deltas_shape(parameter, count);
    if (entry.shape != expected || count_scalars(expected) != count)
        throw Defect("tensor " + quote(name) + " has shape " + shorten(describe(entry.shape)) + ", expected " +
                     shorten(describe(expected)) + " with " + std::to_string(count) + " scalars");
    return read_values<float>(file, entry);
}

std::vector<std::uint32_t> read_indices(const SafetensorsFile &file, const ParameterRecord &parameter) {
    const std::string name = parameter.name + gaps_suffix;
    const TensorEntry &entry = find_tensor(file, name, "U16");
    if (entry.shape.size() != 1)
        throw Defect("tensor " + quote(name) + " has shape " + shorten(describe(entry.shape)) +
                     ", expected one dimension");
    try {
        const auto gaps = read_values<std::uint16_t>(file, entry);
        return decode_gaps(gaps, parameter.deltas.size(), *count_scalars(parameter.shape));
    } catch (const Defect &defect) {
        throw Defect("tensor " + quote(name) + ": " + defect.what());
    }
}

AdapterRecord read_record(const std::string &path, const speft_progress *progress) {
    const SafetensorsFile file(path);
    check_format(file.metadata(), path);
    const auto text = file.metadata().find(adapter_key);
    if (text == file.metadata().end()) throw Defect("its metadata has no \"speft.adapter\"");
    AdapterMetadata metadata = parse_metadata(text->second);

    // Names are distinct, so that no tensor is read twice and memory stays in proportion to the file.
    std::size_t tensors = 0;
    const std::size_t parameters = metadata.counts.size();
    for (std::size_t i = 0; i < parameters; ++i) {
        report_progress(progress, i, parameters, "reading", path);
        ParameterRecord &parameter = metadata.record.parameters[i];
        parameter.deltas = read_deltas(file, parameter, metadata.counts[i]);
        ++tensors;
        if (is_dense(parameter)) continue;
        parameter.indices = read_indices(file, parameter);
        ++tensors;
    }
    report_progress(progress, parameters, parameters, "reading", path);
    if (tensors != file.tensors().size())
        throw Defect("it has " + std::to_string(file.tensors().size()) + " tensors, its parameters account for " +
                     std::to_string(tensors));
    return std::move(metadata.record);
}

}  // namespace

void write_adapter_file(const AdapterRecord &record, const std::string &path, const speft_progress *progress) {
    try {
        check_record(record);
    } catch (const Defect &defect) {
        refuse("cannot save the adapter: " + std::string(defect.what()));
    }
    const std::map<std::string, std::string> metadata = {
        {format_key, std::to_string(current_format)},
        {version_key, SPEFT_VERSION},
        {adapter_key, format_metadata(record)},
    };
    // All of the 32-bit data comes before the 16-bit data: both are aligned without padding.
    std::vector<TensorBytes> tensors;
    for (const ParameterRecord &parameter : record.parameters)
        tensors.push_back({deltas_name(parameter), "F32", deltas_shape(parameter, parameter.deltas.size()),
                           std::as_bytes(std::span(parameter.deltas))});
    std::vector<std::vector<std::uint16_t>> gaps;
    for (const ParameterRecord &parameter : record.parameters) {
        if (is_dense(parameter)) continue;
        gaps.push_back(encode_gaps(parameter.indices));
        tensors.push_back({parameter.name + gaps_suffix, "U16", {static_cast<std::int64_t>(gaps.back().size())},
                           std::as_bytes(std::span(gaps.back()))});
    }
    write_safetensors(path, metadata, tensors, progress);
}

AdapterRecord read_adapter_file(const std::string &path, const speft_progress *progress) {
    try {
        return read_record(path, progress);
    } catch (const Defect &defect) {
        throw Failure(SPEFT_CORRUPT, "cannot load '" + path + "': " + defect.what());
    }
}

}  // namespace speft
