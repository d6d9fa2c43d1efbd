#include "core/storage/adapter_file.h"

#include <charconv>
#include <string>
#include <system_error>
#include <utility>

#include "core/base/status.h"
#include "core/storage/adapter_metadata.h"
#include "core/storage/adapter_tensors.h"
#include "core/storage/checksum.h"
#include "core/storage/defect.h"
#include "core/storage/json.h"
#include "core/storage/metadata_keys.h"
#include "core/storage/safetensors.h"
#include "core/storage/tensor_reader.h"
#include "core/storage/training_tensors.h"

namespace speft {

namespace {

constexpr unsigned current_format = 2;

const std::string &find_metadata(const TensorMetadata &metadata, const char *key) {
    const auto found = metadata.find(key);
    if (found == metadata.end()) throw Defect("its metadata has no \"" + std::string(key) + "\"");
    return found->second;
}

// The one format that there is, or an error.
void check_format(const TensorMetadata &metadata, const ByteSource &source) {
    if (!metadata.contains(format_key))
        throw Defect("it is not a libspeft adapter: its metadata has no \"speft.format\"");
    const std::string &text = metadata.at(format_key);
    unsigned format = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), format);
    if (error != std::errc() || stop != text.data() + text.size() || format == 0)
        throw Defect("\"speft.format\" must be a positive integer, got " + quote(text));
    if (format != current_format)
        refuse_unsupported("cannot load " + source.name() + ": it has format " + text +
                           ", this version reads format " + std::to_string(current_format));
}

AdapterRecord read_record(const ByteSource &source, const speft_progress *progress) {
    const SafetensorsFile file(source);
    const TensorMetadata &metadata = file.metadata();
    check_format(metadata, source);
    AdapterMetadata adapter = parse_metadata(find_metadata(metadata, adapter_key));
    const std::string &checksum = find_metadata(metadata, checksum_key);
    Tensors tensors = file.read_tensors(progress);
    if (const std::string actual = compute_checksum(metadata, tensors); actual != checksum)
        throw Defect("it is damaged: its content has the checksum " + actual + ", expected " + quote(checksum));

    TensorReader reader(std::move(tensors));
    take_adapter_tensors(reader, adapter);
    if (const auto training = metadata.find(training_key); training != metadata.end())
        take_training(training->second, reader, adapter.record);
    reader.finish();
    check_record(adapter.record);  // what is settled and which candidates there are, above all
    return std::move(adapter.record);
}

}  // namespace

void write_adapter_file(const AdapterRecord &record, std::int32_t format, ByteSink &sink,
                        const speft_progress *progress) {
    try {
        check_record(record);
    } catch (const Defect &defect) {
        refuse("cannot save the adapter: " + std::string(defect.what()));
    }
    TensorMetadata metadata = {
        {format_key, std::to_string(current_format)},
        {version_key, SPEFT_VERSION},
        {adapter_key, format_metadata(record)},
    };
    Tensors tensors;
    add_adapter_tensors(record, format, tensors);
    if (record.training) {
        metadata[training_key] = format_training(record);
        add_training_tensors(record, tensors);
    }
    metadata[checksum_key] = compute_checksum(metadata, tensors);
    write_safetensors(sink, metadata, tensors, progress);
}

AdapterRecord read_adapter_file(const ByteSource &source, const speft_progress *progress) {
    try {
        return read_record(source, progress);
    } catch (const Defect &defect) {
        throw Failure(SPEFT_CORRUPT, "cannot load " + source.name() + ": " + defect.what());
    }
}

}  // namespace speft
