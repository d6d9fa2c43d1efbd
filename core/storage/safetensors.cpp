#include "core/storage/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "core/base/status.h"
#include "core/base/tensor_view.h"
#include "core/storage/atomic_file.h"
#include "core/storage/defect.h"
#include "core/storage/json.h"
#include "core/storage/progress.h"
#include "core/storage/shape.h"

namespace speft {

namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian and written as memory has it");

constexpr std::uint64_t longest_header = 100'000'000;  // the limit of the reference implementation
constexpr const char *metadata_key = "__metadata__";

using LengthBytes = std::array<std::byte, sizeof(std::uint64_t)>;

struct ElementType {
    std::string_view name;
    std::uint64_t size;
};

constexpr ElementType element_types[] = {
    {"BOOL", 1}, {"U8", 1},   {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"U16", 2}, {"I16", 2}, {"F16", 2},
    {"BF16", 2}, {"U32", 4},  {"I32", 4}, {"F32", 4},     {"U64", 8},     {"I64", 8}, {"F64", 8},
};

// Nothing when the type is unknown or the size does not fit.
std::optional<std::uint64_t> size_in_bytes(const TensorEntry &entry) {
    const auto type = std::ranges::find(element_types, entry.type, &ElementType::name);
    const std::optional<std::uint64_t> count = count_scalars(entry.shape);
    if (type == std::end(element_types) || !count) return std::nullopt;
    if (*count > std::numeric_limits<std::uint64_t>::max() / type->size) return std::nullopt;
    return *count * type->size;
}

std::map<std::string, std::string> parse_metadata(const nlohmann::json &value) {
    if (!value.is_object()) throw Defect("\"__metadata__\" must be an object");
    std::map<std::string, std::string> metadata;
    for (const auto &member : value.items()) {
        if (!member.value().is_string())
            throw Defect(quote(member.key()) + " of \"__metadata__\" must be a string");
        metadata.emplace(member.key(), member.value().get_ref<const std::string &>());
    }
    return metadata;
}

// The offset is still that in the data.
TensorEntry parse_tensor(const std::string &name, const nlohmann::json &value) {
    const std::string where = "tensor " + quote(name);
    const JsonObject object(value, where);
    TensorEntry entry{object.text("dtype"), object.sizes("shape"), 0, 0};
    const std::vector<std::int64_t> range = object.sizes("data_offsets");
    if (range.size() != 2 || range[0] > range[1])
        throw Defect("\"data_offsets\" of " + where + " must be a begin and an end, got " +
                     shorten(describe(range)));
    entry.offset = static_cast<std::uint64_t>(range[0]);
    entry.size = static_cast<std::uint64_t>(range[1] - range[0]);
    if (size_in_bytes(entry) != entry.size)
        throw Defect(where + " has " + std::to_string(entry.size) + " bytes, which is not the size of " +
                     quote(entry.type) + " " + shorten(describe(entry.shape)));
    return entry;
}

// Every byte of the data belongs to exactly one tensor.
void check_coverage(const std::map<std::string, TensorEntry> &tensors, std::uint64_t data_size) {
    using Tensor = std::pair<const std::string, TensorEntry>;
    std::vector<const Tensor *> ordered;
    for (const Tensor &tensor : tensors) ordered.push_back(&tensor);
    std::ranges::sort(ordered, {}, [](const Tensor *tensor) {
        return std::pair(tensor->second.offset, tensor->second.size);
    });
    std::uint64_t end = 0;
    for (const Tensor *tensor : ordered) {
        const auto &[name, entry] = *tensor;
        if (entry.offset != end)
            throw Defect("tensor " + quote(name) + " begins at byte " + std::to_string(entry.offset) +
                         " of the data, expected " + std::to_string(end));
        end += entry.size;
    }
    if (end != data_size)
        throw Defect("its tensors have " + std::to_string(end) + " bytes, but " + std::to_string(data_size) +
                     " bytes of data follow the header");
}

std::string make_header(const std::map<std::string, std::string> &metadata, std::span<const TensorBytes> tensors) {
    nlohmann::json header;
    header[metadata_key] = metadata;
    std::uint64_t offset = 0;
    for (const TensorBytes &tensor : tensors) {
        const std::uint64_t end = offset + tensor.bytes.size();
        header[tensor.name] = {{"dtype", tensor.type}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
        offset = end;
    }
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data is aligned
    if (text.size() > longest_header)
        refuse("the file's header would have " + std::to_string(text.size()) + " bytes, expected at most " +
               std::to_string(longest_header) + ": there are too many parameters, or their names are too long");
    return text;
}

// Hands bytes on in pieces, and tells how far it is after each.
class ReportingWriter {
public:
    ReportingWriter(AtomicFile &file, const std::string &path, std::uint64_t total, const speft_progress *progress)
        : file_(file), path_(path), total_(total), progress_(progress) {
        report();
    }

    void write(std::span<const std::byte> bytes) {
        constexpr std::size_t piece = 65536;
        while (!bytes.empty()) {
            const auto part = bytes.first(std::min(piece, bytes.size()));
            file_.write(part);
            done_ += part.size();
            bytes = bytes.subspan(part.size());
            report();
        }
    }

private:
    void report() const { report_progress(progress_, done_, total_, "writing", path_); }

    AtomicFile &file_;
    const std::string &path_;
    std::uint64_t done_ = 0;
    std::uint64_t total_;
    const speft_progress *progress_;
};

}  // namespace

// O_NONBLOCK: opening a pipe would wait for its other end; a regular file does not mind.
SafetensorsFile::SafetensorsFile(const std::string &path)
    : path_(path), file_(open_file(path.c_str(), O_RDONLY | O_NONBLOCK)) {
    struct stat status;
    if (!file_.is_open() || fstat(file_.get(), &status) != 0) refuse_io("read", path_, errno);
    require_regular_file("read", path_, status);
    const auto file_size = static_cast<std::uint64_t>(status.st_size);
    const std::string header = read_header(file_size);
    parse_header(header, file_size - sizeof(LengthBytes) - header.size());
}

void SafetensorsFile::read(const TensorEntry &entry, std::span<std::byte> target) const {
    read_at(entry.offset, target);
}

std::string SafetensorsFile::read_header(std::uint64_t file_size) const {
    LengthBytes bytes;
    if (file_size < bytes.size())
        throw Defect("it has " + std::to_string(file_size) + " bytes, too few for a safetensors file");
    read_at(0, bytes);
    const auto length = std::bit_cast<std::uint64_t>(bytes);
    const std::uint64_t most = std::min(longest_header, file_size - bytes.size());
    if (length > most)
        throw Defect("its header should have " + std::to_string(length) + " bytes, expected at most " +
                     std::to_string(most));
    std::string header(length, '\0');
    read_at(bytes.size(), std::as_writable_bytes(std::span(header)));
    return header;
}

void SafetensorsFile::parse_header(const std::string &header, std::uint64_t data_size) {
    const nlohmann::json parsed = parse_json_object(header, "the header");
    for (const auto &member : parsed.items()) {
        if (member.key() == metadata_key)
            metadata_ = parse_metadata(member.value());
        else
            tensors_.emplace(member.key(), parse_tensor(member.key(), member.value()));
    }
    check_coverage(tensors_, data_size);
    for (auto &[name, entry] : tensors_) entry.offset += sizeof(LengthBytes) + header.size();
}

void SafetensorsFile::read_at(std::uint64_t offset, std::span<std::byte> target) const {
    while (!target.empty()) {
        const ssize_t got = pread(file_.get(), target.data(), target.size(), static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) refuse_io("read", path_, errno);
        if (got == 0) throw Defect("it became shorter while it was read");
        target = target.subspan(static_cast<std::size_t>(got));
        offset += static_cast<std::uint64_t>(got);
    }
}

void write_safetensors(const std::string &path, const std::map<std::string, std::string> &metadata,
                       std::span<const TensorBytes> tensors, const speft_progress *progress) {
    const std::string header = make_header(metadata, tensors);
    const auto length = std::bit_cast<LengthBytes>(std::uint64_t{header.size()});
    std::uint64_t total = length.size() + header.size();
    for (const TensorBytes &tensor : tensors) total += tensor.bytes.size();

    AtomicFile file(path);
    ReportingWriter writer(file, path, total, progress);
    writer.write(length);
    writer.write(std::as_bytes(std::span(header)));
    for (const TensorBytes &tensor : tensors) writer.write(tensor.bytes);
    file.commit();
}

}  // namespace speft
