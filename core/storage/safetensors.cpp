#include "core/storage/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <variant>

#include "core/base/progress.h"
#include "core/base/status.h"
#include "core/base/tensor_view.h"
#include "core/storage/defect.h"
#include "core/storage/json.h"
#include "core/storage/json_writer.h"
#include "core/storage/shape.h"

namespace speft {

namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian and written as memory has it");

constexpr std::uint64_t longest_header = 100'000'000;  // the limit of the reference implementation
constexpr const char *metadata_key = "__metadata__";
constexpr std::size_t piece_size = 65536;  // what is read or written between two reports of progress

using LengthBytes = std::array<std::byte, sizeof(std::uint64_t)>;

struct ElementType {
    std::string_view name;
    std::uint64_t size;
};

constexpr ElementType element_types[] = {
    {"BOOL", 1}, {"U8", 1},   {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"U16", 2}, {"I16", 2}, {"F16", 2},
    {"BF16", 2}, {"U32", 4},  {"I32", 4}, {"F32", 4},     {"U64", 8},     {"I64", 8}, {"F64", 8},
};

// 0 when the type is unknown.
std::uint64_t element_size(std::string_view type) {
    const auto found = std::ranges::find(element_types, type, &ElementType::name);
    return found == std::end(element_types) ? 0 : found->size;
}

// Nothing when the type is unknown or the size does not fit.
std::optional<std::uint64_t> size_in_bytes(std::string_view type, std::span<const std::int64_t> shape) {
    const std::uint64_t size = element_size(type);
    const std::optional<std::uint64_t> count = count_scalars(shape);
    if (size == 0 || !count || *count > std::numeric_limits<std::uint64_t>::max() / size) return std::nullopt;
    return *count * size;
}

TensorMetadata parse_metadata(const Json &value) {
    const auto *members = std::get_if<JsonMembers>(&value.value);
    if (!members) throw Defect("\"__metadata__\" must be an object");
    TensorMetadata metadata;
    for (const JsonMember &member : *members) {
        const auto *text = std::get_if<std::string>(&member.value.value);
        if (!text) throw Defect(quote(member.key) + " of \"__metadata__\" must be a string");
        metadata.emplace(member.key, *text);
    }
    return metadata;
}

using NamedTensor = Tensors::value_type;

std::vector<const NamedTensor *> order_by_width(const Tensors &tensors) {
    std::vector<const NamedTensor *> ordered;
    for (const NamedTensor &tensor : tensors) ordered.push_back(&tensor);
    std::ranges::stable_sort(ordered, std::greater(),
                             [](const NamedTensor *tensor) { return element_size(tensor->second.type); });
    return ordered;
}

using Range = std::array<std::int64_t, 2>;  // begin and end, in the data

std::map<std::string_view, Range> place_data(std::span<const NamedTensor *const> ordered) {
    std::map<std::string_view, Range> places;
    std::int64_t end = 0;
    for (const NamedTensor *tensor : ordered) {
        const std::int64_t begin = end;
        end += static_cast<std::int64_t>(tensor->second.bytes.size());
        places[tensor->first] = {begin, end};
    }
    return places;
}

void write_metadata(JsonWriter &json, const TensorMetadata &metadata) {
    json.begin_object();
    for (const auto &[name, text] : metadata) json.member(name, text);
    json.end_object();
}

void write_entry(JsonWriter &json, const Tensor &tensor, const Range &place) {
    json.begin_object();
    json.member("data_offsets", place);
    json.member("dtype", tensor.type);
    json.member("shape", tensor.shape);
    json.end_object();
}

// Its entries stand by name. `ordered` is how the data follows.
std::string make_header(const TensorMetadata &metadata, const Tensors &tensors,
                        std::span<const NamedTensor *const> ordered) {
    std::map<std::string_view, Range> places = place_data(ordered);
    JsonWriter header;
    header.begin_object();
    header.key(metadata_key);
    write_metadata(header, metadata);
    for (const auto &[name, tensor] : tensors) {
        header.key(name);
        write_entry(header, tensor, places[name]);
    }
    header.end_object();
    std::string text = header.take();
    text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data is aligned
    if (text.size() > longest_header)
        refuse("the file's header would have " + std::to_string(text.size()) + " bytes, expected at most " +
               std::to_string(longest_header) + ": there are too many parameters, or their names are too long");
    return text;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const ByteSource &source) : source_(source) {
    const std::string header = read_header();
    data_begin_ = sizeof(LengthBytes) + header.size();
    parse_header(header);
    check_coverage();
}

std::string SafetensorsFile::read_header() const {
    LengthBytes bytes;
    const std::uint64_t size = source_.size();
    if (size < bytes.size())
        throw Defect("it has " + std::to_string(size) + " bytes, too few for a safetensors file");
    source_.read(0, bytes);
    const auto length = std::bit_cast<std::uint64_t>(bytes);
    const std::uint64_t most = std::min(longest_header, size - bytes.size());
    if (length > most)
        throw Defect("its header should have " + std::to_string(length) + " bytes, expected at most " +
                     std::to_string(most));
    std::string header(length, '\0');
    source_.read(bytes.size(), std::as_writable_bytes(std::span(header)));
    return header;
}

void SafetensorsFile::parse_header(const std::string &header) {
    const Json parsed = parse_json_object(header, "the header");
    const JsonObject object(parsed, "the header");
    for (const auto &[key, value] : object.members()) {
        if (key == metadata_key)
            metadata_ = parse_metadata(value);
        else
            entries_.emplace(key, parse_entry(key, {value, "tensor " + quote(key)}));
    }
}

SafetensorsFile::Entry SafetensorsFile::parse_entry(const std::string &name, const JsonObject &object) {
    Entry entry{object.text("dtype"), object.sizes("shape"), 0, 0};
    const std::vector<std::int64_t> range = object.sizes("data_offsets");
    if (range.size() != 2 || range[0] > range[1])
        throw Defect("\"data_offsets\" of tensor " + quote(name) + " must be a begin and an end, got " +
                     shorten(describe(range)));
    entry.offset = static_cast<std::uint64_t>(range[0]);
    entry.size = static_cast<std::uint64_t>(range[1] - range[0]);
    if (size_in_bytes(entry.type, entry.shape) != entry.size)
        throw Defect("tensor " + quote(name) + " has " + std::to_string(entry.size) +
                     " bytes, which is not the size of " + quote(entry.type) + " " + shorten(describe(entry.shape)));
    return entry;
}

// Every byte of the data belongs to exactly one tensor.
void SafetensorsFile::check_coverage() const {
    using NamedEntry = std::pair<const std::string, Entry>;
    std::vector<const NamedEntry *> ordered;
    for (const NamedEntry &entry : entries_) ordered.push_back(&entry);
    std::ranges::sort(ordered, {}, [](const NamedEntry *entry) {
        return std::pair(entry->second.offset, entry->second.size);
    });
    std::uint64_t end = 0;
    for (const NamedEntry *named : ordered) {
        const auto &[name, entry] = *named;
        if (entry.offset != end)
            throw Defect("tensor " + quote(name) + " begins at byte " + std::to_string(entry.offset) +
                         " of the data, expected " + std::to_string(end));
        end += entry.size;
    }
    const std::uint64_t data_size = source_.size() - data_begin_;
    if (end != data_size)
        throw Defect("its tensors have " + std::to_string(end) + " bytes, but " + std::to_string(data_size) +
                     " bytes of data follow the header");
}

Tensors SafetensorsFile::read_tensors(const speft_progress *progress) const {
    ProgressMeter meter(progress, source_.size() - data_begin_, "reading", source_.name());
    Tensors tensors;
    for (const auto &[name, entry] : entries_) {
        Tensor &tensor = tensors[name];
        tensor = {entry.type, entry.shape, std::vector<std::byte>(entry.size)};
        for (std::uint64_t done = 0; done < entry.size; done += piece_size) {
            const std::span piece = std::span(tensor.bytes).subspan(done, std::min(piece_size, entry.size - done));
            source_.read(data_begin_ + entry.offset + done, piece);
            meter.advance(piece.size());
        }
    }
    return tensors;
}

void write_safetensors(ByteSink &sink, const TensorMetadata &metadata, const Tensors &tensors,
                       const speft_progress *progress) {
    const std::vector<const NamedTensor *> ordered = order_by_width(tensors);
    const std::string header = make_header(metadata, tensors, ordered);
    const auto length = std::bit_cast<LengthBytes>(std::uint64_t{header.size()});
    std::uint64_t total = length.size() + header.size();
    for (const NamedTensor *tensor : ordered) total += tensor->second.bytes.size();

    ProgressMeter meter(progress, total, "writing", sink.name());
    const auto write = [&](std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            const auto piece = bytes.first(std::min(piece_size, bytes.size()));
            sink.write(piece);
            meter.advance(piece.size());
            bytes = bytes.subspan(piece.size());
        }
    };
    write(length);
    write(std::as_bytes(std::span(header)));
    for (const NamedTensor *tensor : ordered) write(tensor->second.bytes);
    sink.commit();
}

}  // namespace speft
