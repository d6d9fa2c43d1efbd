#include "speft/storage.h"

#include <span>
#include <string>

#include "capi/src/guard.h"
#include "capi/src/handles.h"
#include "capi/src/options.h"
#include "core/storage/adapter_file.h"
#include "core/storage/atomic_file.h"
#include "core/storage/byte_source.h"
#include "core/storage/host_writer.h"

using namespace speft;

namespace {

speft_save_options read_save_options(const speft_save_options *options) {
    speft_save_options given{};
    if (options) given = read_struct(options, "save options");
    if (given.format != SPEFT_FORMAT_EXACT && given.format != SPEFT_FORMAT_COMPACT)
        refuse("save options: format must be SPEFT_FORMAT_EXACT or SPEFT_FORMAT_COMPACT; got " +
               std::to_string(given.format));
    return given;
}

void write_record(const AdapterRecord &record, const speft_save_options &options, const char *path) {
    speft_progress copy;
    const speft_progress *progress = read_progress(options.progress, copy);
    if (options.writer) {
        if (path) refuse("path must be NULL where the save options have a writer; got '" + std::string(path) + "'");
        const speft_writer given = read_struct(options.writer, "writer");
        require(given.write, "writer: write");
        HostWriter writer(given);
        write_adapter_file(record, options.format, writer, progress);
    } else {
        AtomicFile file(require(path, "path"));
        write_adapter_file(record, options.format, file, progress);
    }
}

speft_load_options read_load_options(const speft_load_options *options) {
    return options ? read_struct(options, "load options") : speft_load_options{};
}

AdapterRecord read_record(const speft_load_options &given, const char *path) {
    speft_progress copy;
    const speft_progress *progress = read_progress(given.progress, copy);
    if (given.bytes) {
        if (path) refuse("path must be NULL where the load options have bytes; got '" + std::string(path) + "'");
        const MemorySource source({static_cast<const std::byte *>(given.bytes), given.size});
        return read_adapter_file(source, progress);
    }
    if (given.size != 0) refuse("load options: bytes must not be NULL; size is " + std::to_string(given.size));
    return read_adapter_file(FileSource(require(path, "path")), progress);
}

}  // namespace

void speft_save_options_init(speft_save_options *options, uint32_t size) { init_struct(options, size, {}); }

speft_status speft_save_adapter(speft_adapter *adapter, const speft_save_options *options, const char *path,
                                speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        const speft_save_options given = read_save_options(options);
        write_record(call->record(), given, path);
    });
}

void speft_load_options_init(speft_load_options *options, uint32_t size) { init_struct(options, size, {}); }

speft_status speft_load_adapter(speft_context *context, const speft_load_options *options, const char *path,
                                speft_adapter **adapter, speft_error **error) {
    return guard(error, [&] {
        ContextCall call(context);
        require(adapter, "adapter");
        AdapterRecord record = read_record(read_load_options(options), path);
        record.training.reset();
        *adapter = new speft_adapter{std::make_shared<Adapter>(call.context(), record)};
    });
}

speft_status speft_save_checkpoint(speft_adapter *adapter, const speft_save_options *options, const char *path,
                                   speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        const speft_save_options given = read_save_options(options);
        if (given.format != SPEFT_FORMAT_EXACT)
            refuse("save options: format must be SPEFT_FORMAT_EXACT for a checkpoint; got SPEFT_FORMAT_COMPACT");
        write_record(call->record(true), given, path);
    });
}

speft_status speft_load_checkpoint(speft_context *context, const speft_load_options *options, const char *path,
                                   speft_adapter **adapter, speft_error **error) {
    return guard(error, [&] {
        ContextCall call(context);
        require(adapter, "adapter");
        const speft_load_options given = read_load_options(options);
        const ScoreFunction score = read_score_function(given.score);
        const AdapterRecord record = read_record(given, path);
        if (!record.training)
            refuse("the file is an adapter without the state of a training: load it with speft_load_adapter");
        *adapter = new speft_adapter{std::make_shared<Adapter>(call.context(), record, score)};
    });
}
