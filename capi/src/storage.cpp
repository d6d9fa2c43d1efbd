#include "speft/storage.h"

#include "capi/src/guard.h"
#include "capi/src/handles.h"
#include "capi/src/options.h"
#include "core/storage/adapter_file.h"

using namespace speft;

void speft_save_options_init(speft_save_options *options, uint32_t size) { init_struct(options, size, {}); }

speft_status speft_save_adapter(speft_adapter *adapter, const speft_save_options *options, const char *path,
                                speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        require(path, "path");
        speft_save_options given{};
        if (options) given = read_struct(options, "save options");
        if (given.format != SPEFT_FORMAT_EXACT && given.format != SPEFT_FORMAT_COMPACT)
            refuse("save options: format must be SPEFT_FORMAT_EXACT or SPEFT_FORMAT_COMPACT; got " +
                   std::to_string(given.format));
        if (given.format == SPEFT_FORMAT_COMPACT) 
            refuse_unsupported("save options: format SPEFT_FORMAT_COMPACT: this version writes exact files only");
        if (given.writer) refuse_unsupported("save options: a writer is not in this version");
        speft_progress copy;
        write_adapter_file(call->record(), path, read_progress(given.progress, copy));
    });
}

void speft_load_options_init(speft_load_options *options, uint32_t size) { init_struct(options, size, {}); }

speft_status speft_load_adapter(speft_context *context, const speft_load_options *options, const char *path,
                                speft_adapter **adapter, speft_error **error) {
    return guard(error, [&] {
        ContextCall call(context);
        require(path, "path");
        require(adapter, "adapter");
        speft_load_options given{};
        if (options) given = read_struct(options, "load options");
        speft_progress copy;
        const AdapterRecord record = read_adapter_file(path, read_progress(given.progress, copy));
        *adapter = new speft_adapter{std::make_shared<Adapter>(call.context(), record)};
    });
}

speft_status speft_save_checkpoint(speft_adapter *adapter, const speft_save_options *, const char *path,
                                   speft_error **error) {
    return guard(error, [&] {
        AdapterCall call(adapter);
        require(path, "path");
        refuse_unsupported("speft_save_checkpoint: checkpoints are not in this version");
    });
}

speft_status speft_load_checkpoint(speft_context *context, const speft_load_options *, const char *path,
                                   speft_adapter **adapter, speft_error **error) {
    return guard(error, [&] {
        ContextCall call(context);
        require(path, "path");
        require(adapter, "adapter");
        refuse_unsupported("speft_load_checkpoint: checkpoints are not in this version");
    });
}
