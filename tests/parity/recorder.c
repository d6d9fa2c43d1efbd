#include "recorder.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const parameter_names[RECORDER_PARAMETERS] = {"encoder.weight", "decoder.weight", "head.weight"};
const int32_t parameter_roles[RECORDER_PARAMETERS] = {SPEFT_ROLE_SPARSE, SPEFT_ROLE_SPARSE, SPEFT_ROLE_DENSE};
const int64_t parameter_shapes[RECORDER_PARAMETERS][2] = {{24, 16}, {16, 24}, {3, 16}};

enum { TOKENS = 8, EXAMPLES_IN_A_BATCH = 3 };

static const speft_dtype float32 = {SPEFT_CODE_FLOAT, 32, 1}, int64 = {SPEFT_CODE_INT, 64, 1},
                         int8 = {SPEFT_CODE_INT, 8, 1}, uint8 = {SPEFT_CODE_UINT, 8, 1};
static speft_error *error;

#define MUST(call) must((call), #call)
static void must(speft_status status, const char *call) {
    if (status == SPEFT_OK) return;
    fprintf(stderr, "%s returned %s: %s\n", call, speft_get_status_name(status), speft_get_error_message(error));
    exit(EXIT_FAILURE);
}

static int64_t size_of(int parameter) { return parameter_shapes[parameter][0] * parameter_shapes[parameter][1]; }

/* ---- names ---- */

const char *name_of_method(int32_t method) {
    static const char *const names[] = {
        [SPEFT_SELECT_RANDOM] = "random",           [SPEFT_SELECT_MAGNITUDE] = "magnitude",
        [SPEFT_SELECT_GRADIENT] = "gradient",       [SPEFT_SELECT_SNIP] = "snip",
        [SPEFT_SELECT_GIVEN_MASK] = "mask",         [SPEFT_SELECT_GIVEN_SCORES] = "scores",
        [SPEFT_SELECT_FORCE] = "force",             [SPEFT_SELECT_TAYLOR_FO] = "taylor-fo",
        [SPEFT_SELECT_FISHER] = "fisher",           [SPEFT_SELECT_SYNFLOW] = "synflow",
        [SPEFT_SELECT_GRASP] = "grasp",             [SPEFT_SELECT_GRASP_CODE] = "grasp-code",
        [SPEFT_SELECT_WEIGHT_CHANGE] = "weight-change", [SPEFT_SELECT_LOW_RANK] = "low-rank",
        [SPEFT_SELECT_WANDA] = "wanda",             [SPEFT_SELECT_SPIEL_AG] = "spiel-ag",
        [SPEFT_SELECT_SPIEL_MA] = "spiel-ma",       [SPEFT_SELECT_SMALLEST_MAGNITUDE] = "smallest-magnitude",
        [SPEFT_SELECT_SPARSEGRAD] = "sparsegrad",   [SPEFT_SELECT_MEPROP] = "meprop",
    };
    return names[method];
}

static const char *name(const char *const *names, int32_t code) { return names[code]; }

static const char *const roles[] = {"sparse", "dense"};
static const char *const scopes[] = {"global", "per-tensor", "per-row"};
static const char *const randoms[] = {"exact", "bernoulli"};
static const char *const means[] = {"signed", "absolute"};
static const char *const schedules[] = {"default", "linear", "cosine", "constant", "none"};
static const char *const drops[] = {"magnitude", "change"};
static const char *const kinds[] = {NULL, "adamw", "sgd", "sm3", "lion", "adafactor", "adam"};
static const char *const ages[] = {"common", "per-weight"};
static const char *const states[] = {"float32", "bfloat16", "blocks8"};
static const char *const decays[] = {"original", "zero", "after"};
static const char *const delta_types[] = {"float32", "bfloat16"};
static const char *const formats[] = {"exact", "compact"};
static const char *const weights_kinds[] = {NULL, "nf4", "fp4", "int8"};

/* ---- numbers ---- */

/* Deterministic, in [-1, 1), with a few ties and zeros: 7 bits, which every type has exactly. */
static double value_at(uint32_t seed, int64_t index) {
    uint64_t state = ((uint64_t)seed << 32 | (uint64_t)index) * UINT64_C(0x9e3779b97f4a7c15);
    state ^= state >> 32;
    state *= UINT64_C(0xd6e8feb86659fd93);
    state ^= state >> 32;
    return ((double)(state & 0xff) - 128.0) / 128.0;
}

/* The bits of a value of 7 bits below 1 in a type; normal in all of them, or zero. */
static void put(const speft_dtype dtype, void *to, int64_t index, double value) {
    if (dtype.bits == 32) {
        ((float *)to)[index] = (float)value;
        return;
    }
    uint16_t bits = 0;
    int exponent;
    const double fraction = frexp(fabs(value), &exponent);
    if (fraction > 0) {
        const int stored = dtype.code == SPEFT_CODE_BFLOAT ? 7 : 10, bias = dtype.code == SPEFT_CODE_BFLOAT ? 127 : 15;
        const uint32_t significand = (uint32_t)ldexp(fraction, stored + 1) - (1u << stored);
        bits = (uint16_t)((uint32_t)(exponent - 1 + bias) << stored | significand);
    }
    ((uint16_t *)to)[index] = (uint16_t)(bits | (value < 0 ? 0x8000u : 0));
}

static void fill(speft_dtype dtype, void *to, int64_t count, uint32_t seed) {
    for (int64_t i = 0; i < count; ++i) put(dtype, to, i, value_at(seed, i));
}

static speft_tensor view(void *data, speft_dtype dtype, int32_t ndim, const int64_t *shape) {
    return (speft_tensor){data, {SPEFT_DEVICE_CPU, 0}, ndim, dtype, (int64_t *)(uintptr_t)shape, NULL, 0};
}

/* ---- what is written ---- */

/* Writes the array into a file of its own and its name, after `before`, into the commands. */
static void write_array(struct recorder *recorder, const char *before, const void *data, uint64_t bytes) {
    char path[4096];
    fprintf(recorder->commands, "%s%03d.bin", before, recorder->files);
    snprintf(path, sizeof path, "%s/%03d.bin", recorder->folder, recorder->files++);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, bytes, file) != bytes || fclose(file)) {
        perror(path);
        exit(EXIT_FAILURE);
    }
}

static void write_tensor(struct recorder *recorder, const char *before, const speft_tensor *tensor) {
    uint64_t bytes = tensor->dtype.bits / 8;
    for (int32_t axis = 0; axis < tensor->ndim; ++axis) bytes *= (uint64_t)tensor->shape[axis];
    write_array(recorder, before, tensor->data, bytes);
}

static void end_line(struct recorder *recorder) { fputc('\n', recorder->commands); }

/* ---- commands ---- */

void start_recording(struct recorder *recorder, const char *folder, int threads, const struct scalar_type *type,
                     int32_t kind) {
    char path[4096];
    memset(recorder, 0, sizeof *recorder);
    recorder->folder = folder;
    recorder->type = type;
    recorder->kind = kind;
    snprintf(path, sizeof path, "%s/case.txt", folder);
    recorder->commands = fopen(path, "w");
    if (!recorder->commands) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    speft_context_options options;
    speft_context_options_init(&options, sizeof options);
    options.threads = threads;
    MUST(speft_create_context(&options, &recorder->context, &error));
    fprintf(recorder->commands, "context threads=%d\n", threads);
}

void create(struct recorder *recorder, const speft_selection_options *selection,
            const speft_optimizer_options *optimizer, int32_t delta_type) {
    FILE *to = recorder->commands;
    speft_parameter parameters[RECORDER_PARAMETERS];
    const speft_parameter *pointers[RECORDER_PARAMETERS];
    for (int i = 0; i < RECORDER_PARAMETERS; ++i) {
        speft_parameter_init(&parameters[i], sizeof parameters[i]);
        parameters[i].name = parameter_names[i];
        parameters[i].role = parameter_roles[i];
        parameters[i].shape = parameter_shapes[i];
        parameters[i].ndim = 2;
        parameters[i].dtype = recorder->type->dtype;
        pointers[i] = &parameters[i];
        fprintf(to, "parameter name=%s role=%s dtype=%s shape=%" PRId64 ",%" PRId64 "\n", parameter_names[i],
                name(roles, parameter_roles[i]), recorder->type->name, parameter_shapes[i][0], parameter_shapes[i][1]);
    }
    fprintf(to,
            "selection method=%s scope=%s random=%s density=%.17g budget=%" PRId64 " rank=%" PRId64 " seed=%" PRIu64
            " model_scalars=%" PRId64 " approximation_rank=%" PRId64 " mean=%s threshold=%.17g\n",
            name_of_method(selection->method), name(scopes, selection->scope), name(randoms, selection->random),
            selection->density, selection->budget, selection->rank, selection->seed, selection->model_scalars,
            selection->approximation_rank, name(means, selection->mean), selection->threshold);
    const speft_schedule_options *schedule = selection->schedule;
    if (schedule)
        fprintf(to,
                "schedule schedule=%s total_steps=%" PRId64 " reselect_every=%" PRId64 " window=%" PRId64
                " rate=%.17g candidates=%" PRId64 " drop=%s keep_moments=%d settled_limit=%" PRId64 " track_moves=%d\n",
                name(schedules, schedule->schedule), schedule->total_steps, schedule->reselect_every, schedule->window,
                schedule->rate, schedule->candidates, name(drops, schedule->drop), (int)schedule->keep_moments,
                schedule->settled_limit, (int)schedule->track_moves);
    fprintf(to, "optimizer kind=%s age=%s state=%s delta_type=%s\ncreate\n", name(kinds, optimizer->kind),
            name(ages, optimizer->age), name(states, optimizer->state), name(delta_types, delta_type));
    speft_adapter_options options;
    speft_adapter_options_init(&options, sizeof options);
    options.selection = selection;
    options.optimizer = optimizer;
    options.delta_type = recorder->delta_type = delta_type;
    MUST(speft_create_adapter(recorder->context, &options, pointers, RECORDER_PARAMETERS, &recorder->adapter, &error));
}

static speft_tensor weights_of(struct recorder *recorder, int parameter) {
    return view(recorder->memory[parameter], recorder->type->dtype, 2, parameter_shapes[parameter]);
}

static int is_quantized(const struct recorder *recorder, int parameter) {
    return recorder->kind != SPEFT_WEIGHTS_DENSE && parameter_roles[parameter] == SPEFT_ROLE_SPARSE;
}

/* The C structs of a quantized parameter, which point to each other and to its memory. */
struct quantized {
    int64_t shape[2], blocks;
    speft_tensor codes, absmax, absmax_absmax, absmax_offset;
    speft_quantization quantization;
    speft_weights weights;
};

static void describe(struct recorder *recorder, int parameter, struct quantized *quantized) {
    static const int64_t one = 1;
    struct recorder_codes *const memory = &recorder->codes[parameter];
    const int is_int8 = recorder->kind == SPEFT_WEIGHTS_INT8;
    const int64_t *const shape = parameter_shapes[parameter];
    memset(quantized, 0, sizeof *quantized);
    quantized->blocks = is_int8 ? shape[0] : size_of(parameter) / RECORDER_BLOCK;
    quantized->shape[0] = is_int8 ? shape[0] : size_of(parameter) / 2;
    quantized->shape[1] = shape[1];
    quantized->codes = view(memory->codes, is_int8 ? int8 : uint8, is_int8 ? 2 : 1, quantized->shape);
    quantized->absmax = is_int8 ? view(memory->absmax, float32, 1, &quantized->blocks)
                                : view(memory->absmax_codes, uint8, 1, &quantized->blocks);
    quantized->absmax_absmax = view(memory->absmax_absmax, float32, 1, &one);
    quantized->absmax_offset = view(memory->absmax_offset, float32, 1, &one);
    quantized->quantization.struct_size = sizeof quantized->quantization;
    quantized->quantization.absmax = &quantized->absmax;
    if (!is_int8) {
        quantized->quantization.block = quantized->quantization.absmax_block = RECORDER_BLOCK;
        quantized->quantization.absmax_absmax = &quantized->absmax_absmax;
        quantized->quantization.absmax_offset = &quantized->absmax_offset;
    }
    quantized->weights.struct_size = sizeof quantized->weights;
    quantized->weights.kind = recorder->kind;
    quantized->weights.data = &quantized->codes;
    quantized->weights.quantization = &quantized->quantization;
}

static void write_quantized(struct recorder *recorder, const struct quantized *quantized) {
    write_tensor(recorder, " codes=", &quantized->codes);
    write_tensor(recorder, " absmax=", &quantized->absmax);
    if (quantized->quantization.absmax_absmax) {
        write_tensor(recorder, " absmax_absmax=", &quantized->absmax_absmax);
        write_tensor(recorder, " absmax_offset=", &quantized->absmax_offset);
    }
    end_line(recorder);
}

static void bind_memory(struct recorder *recorder) {
    for (int i = 0; i < RECORDER_PARAMETERS; ++i) {
        const speft_tensor tensor = weights_of(recorder, i);
        const speft_weights dense = {.struct_size = sizeof dense, .kind = SPEFT_WEIGHTS_DENSE, .data = &tensor};
        struct quantized quantized;
        describe(recorder, i, &quantized);
        MUST(speft_bind_weights(recorder->adapter, i, is_quantized(recorder, i) ? &quantized.weights : &dense,
                                &error));
    }
}

void bind_all(struct recorder *recorder, uint32_t seed) {
    for (int i = 0; i < RECORDER_PARAMETERS; ++i) {
        const speft_tensor tensor = weights_of(recorder, i);
        fill(tensor.dtype, tensor.data, size_of(i), seed + (uint32_t)i);
        if (is_quantized(recorder, i)) {
            struct quantized quantized;
            describe(recorder, i, &quantized);
            MUST(speft_quantize(recorder->context, &tensor, &quantized.weights, &error));
            fprintf(recorder->commands, "bind-quantized %d kind=%s block=%d absmax_block=%d", i,
                    name(weights_kinds, recorder->kind), (int)quantized.quantization.block,
                    (int)quantized.quantization.absmax_block);
            write_quantized(recorder, &quantized);
            continue;
        }
        fprintf(recorder->commands, "bind %d", i);
        write_tensor(recorder, " ", &tensor);
        end_line(recorder);
    }
    bind_memory(recorder);
}

void set_masks(struct recorder *recorder, uint32_t seed) {
    for (int i = 0; i < RECORDER_PARAMETERS; ++i) {
        if (parameter_roles[i] == SPEFT_ROLE_DENSE) continue;
        int64_t indices[RECORDER_SCALARS], count = 0;
        for (int64_t at = 0; at < size_of(i); ++at)
            if (value_at(seed + (uint32_t)i, at) > 0.8) indices[count++] = at;
        const speft_tensor tensor = view(indices, int64, 1, &count);
        fprintf(recorder->commands, "mask %d", i);
        write_tensor(recorder, " ", &tensor);
        end_line(recorder);
        MUST(speft_set_mask(recorder->adapter, i, &tensor, &error));
    }
}

void set_scores(struct recorder *recorder, uint32_t seed) {
    for (int i = 0; i < RECORDER_PARAMETERS; ++i) {
        if (parameter_roles[i] == SPEFT_ROLE_DENSE) continue;
        float scores[RECORDER_SCALARS];
        fill(float32, scores, size_of(i), seed + (uint32_t)i);
        const speft_tensor tensor = view(scores, float32, 2, parameter_shapes[i]);
        fprintf(recorder->commands, "scores %d", i);
        write_tensor(recorder, " ", &tensor);
        end_line(recorder);
        MUST(speft_set_scores(recorder->adapter, i, &tensor, &error));
    }
}

void set_references(struct recorder *recorder, uint32_t seed) {
    for (int i = 0; i < RECORDER_PARAMETERS; ++i) {
        if (parameter_roles[i] == SPEFT_ROLE_DENSE) continue;
        _Alignas(8) unsigned char original[RECORDER_SCALARS * 4];
        fill(recorder->type->dtype, original, size_of(i), seed + (uint32_t)i);
        const speft_tensor tensor = view(original, recorder->type->dtype, 2, parameter_shapes[i]);
        fprintf(recorder->commands, "reference %d", i);
        write_tensor(recorder, " ", &tensor);
        end_line(recorder);
        MUST(speft_set_reference(recorder->adapter, i, &tensor, &error));
    }
}

/* Gradients that are diagonal but for the order of their rows or columns: the basis is of unit vectors, in which every
 * product is exact, whichever library computes it. */
static void fill_permuted(speft_dtype dtype, void *to, const int64_t *shape, double factor) {
    const int tall = shape[0] > shape[1];
    memset(to, 0, (size_t)(shape[0] * shape[1]) * dtype.bits / 8);
    for (int64_t i = 0; i < shape[tall]; ++i) {
        const int64_t other = (5 * i + 3) % shape[!tall];
        put(dtype, to, tall ? other * shape[1] + i : i * shape[1] + other, factor * (double)(i + 1) / 32);
    }
}

void bind_bases(struct recorder *recorder) {
    const speft_dtype dtype = recorder->type->dtype;
    for (int i = 0; i < RECORDER_PARAMETERS; ++i) {
        if (parameter_roles[i] == SPEFT_ROLE_DENSE) continue;
        const int64_t *shape = parameter_shapes[i];
        _Alignas(8) unsigned char memory[RECORDER_SCALARS * 4];
        const speft_tensor dense = view(memory, dtype, 2, shape);
        const speft_gradient gradient = {
            .struct_size = sizeof gradient, .kind = SPEFT_GRADIENT_DENSE, .dense = &dense};
        speft_tensor u, v;
        speft_basis *basis = NULL;
        speft_basis_options options;
        speft_basis_options_init(&options, sizeof options);
        options.rows = shape[0];
        options.columns = shape[1];
        options.row_directions = options.column_directions = shape[0] < shape[1] ? shape[0] : shape[1];
        fprintf(recorder->commands, "basis %d row_directions=%" PRId64 " column_directions=%" PRId64 "\n", i,
                options.row_directions, options.column_directions);
        MUST(speft_create_basis(recorder->context, &options, &basis, &error));
        for (int sign = -1; sign <= 1; sign += 2) {
            fill_permuted(dtype, memory, shape, sign);
            fprintf(recorder->commands, "observe-basis %d", i);
            write_tensor(recorder, " dense ", &dense);
            end_line(recorder);
            MUST(speft_observe_basis(basis, &gradient, &error));
        }
        fprintf(recorder->commands, "fit-basis %d\n", i);
        MUST(speft_fit_basis(basis, NULL, &error));
        MUST(speft_get_basis(basis, &u, &v, &error));
        fprintf(recorder->commands, "expect-basis %d", i);
        write_tensor(recorder, " u=", &u);
        write_tensor(recorder, " v=", &v);
        fprintf(recorder->commands, "\nbind-basis %d\n", i);
        MUST(speft_bind_basis(recorder->adapter, i, basis, &error));
        speft_destroy_basis(basis);
    }
}

typedef speft_status contribute(speft_adapter *, int64_t, const speft_gradient *, speft_error **);

/* A gradient of one parameter in this form, written down and handed in. */
static void give(struct recorder *recorder, const char *command, contribute *call, int parameter,
                 enum gradient_form form, uint32_t seed) {
    const speft_dtype dtype = recorder->type->dtype;
    const int64_t *shape = parameter_shapes[parameter];
    const int64_t x_shape[2] = {TOKENS, shape[1]}, dy_shape[2] = {TOKENS, shape[0]};
    _Alignas(8) unsigned char first[RECORDER_SCALARS * 4], second[RECORDER_SCALARS * 4];
    int64_t offsets[EXAMPLES_IN_A_BATCH + 1] = {0, 2, 5, TOKENS};
    const int64_t offset_count = EXAMPLES_IN_A_BATCH + 1;
    const speft_tensor example_offsets = view(offsets, int64, 1, &offset_count);
    speft_tensor x = view(first, dtype, 2, x_shape), dy = view(second, dtype, 2, dy_shape);
    speft_tensor dense = view(first, dtype, 2, shape), values = view(first, float32, 1, NULL);
    int64_t selected = 0;
    speft_gradient gradient = {.struct_size = sizeof gradient};

    fprintf(recorder->commands, "%s %d", command, parameter);
    if (form == DENSE) {
        fill(dtype, first, size_of(parameter), seed);
        gradient.kind = SPEFT_GRADIENT_DENSE;
        gradient.dense = &dense;
        write_tensor(recorder, " dense ", &dense);
    } else if (form == VALUES) {
        MUST(speft_get_selected_count(recorder->adapter, parameter, &selected, &error));
        values.shape = &selected;
        fill(float32, first, selected, seed);
        gradient.kind = SPEFT_GRADIENT_VALUES;
        gradient.values = &values;
        write_tensor(recorder, " values ", &values);
    } else {
        fill(dtype, first, TOKENS * shape[1], seed);
        fill(dtype, second, TOKENS * shape[0], seed + 1000);
        gradient.kind = SPEFT_GRADIENT_ACTIVATIONS;
        gradient.scale = 0.5;
        gradient.x = &x;
        gradient.dy = &dy;
        fprintf(recorder->commands, " activations tokens=%d scale=%.17g layout=out_in", TOKENS, gradient.scale);
        write_tensor(recorder, " x=", &x);
        write_tensor(recorder, " dy=", &dy);
        if (form == EXAMPLES) {
            gradient.example_offsets = &example_offsets;
            write_tensor(recorder, " example_offsets=", &example_offsets);
        }
    }
    end_line(recorder);
    MUST(call(recorder->adapter, parameter, &gradient, &error));
}

void observe_batch(struct recorder *recorder, enum gradient_form form, double weight, int announced, uint32_t seed) {
    if (announced) {
        fprintf(recorder->commands, "begin %.17g\n", weight);
        MUST(speft_begin_observation(recorder->adapter, weight, &error));
    }
    for (int i = 0; i < RECORDER_PARAMETERS; ++i)
        give(recorder, "observe", speft_observe, i, form, seed + (uint32_t)i);
    fprintf(recorder->commands, "finish %.17g\n", weight);
    MUST(speft_finish_observation(recorder->adapter, weight, &error));
}

void select_masks(struct recorder *recorder) {
    fputs("select\n", recorder->commands);
    MUST(speft_select(recorder->adapter, NULL, &error));
}

void accumulate_all(struct recorder *recorder, enum gradient_form form, uint32_t seed) {
    for (int i = 0; i < RECORDER_PARAMETERS; ++i)  /* a dense parameter has no mask to give values of */
        give(recorder, "accumulate", speft_accumulate, i,
             form == VALUES && parameter_roles[i] == SPEFT_ROLE_DENSE ? DENSE : form, seed + (uint32_t)i);
}

void clip(struct recorder *recorder, double max_norm) {
    fprintf(recorder->commands, "clip %.17g\n", max_norm);
    MUST(speft_clip_gradient(recorder->adapter, max_norm, NULL, &error));
}

void step(struct recorder *recorder, const speft_hyperparameters *all) {
    const speft_hyperparameters *const groups[] = {all};
    speft_step_options options;
    speft_step_options_init(&options, sizeof options);
    options.groups = groups;
    options.group_count = 1;
    fprintf(recorder->commands,
            "step lr=%.17g beta1=%.17g beta2=%.17g eps=%.17g weight_decay=%.17g decay=%s momentum=%.17g\n",
            all->learning_rate, all->beta1, all->beta2, all->epsilon, all->weight_decay, name(decays, all->decay),
            all->momentum);
    MUST(speft_step(recorder->adapter, &options, &error));
}

static void expect_moved(struct recorder *recorder, int parameter, int32_t which, const char *word) {
    int64_t count = 0, indices[RECORDER_SCALARS];
    MUST(speft_get_moved(recorder->adapter, parameter, which, &count, NULL, &error));
    const speft_tensor tensor = view(indices, int64, 1, &count);
    MUST(speft_get_moved(recorder->adapter, parameter, which, &count, &tensor, &error));
    fprintf(recorder->commands, "expect-moved %d %s", parameter, word);
    write_tensor(recorder, " ", &tensor);
    end_line(recorder);
}

void reselect(struct recorder *recorder, int moves_are_tracked) {
    fputs("reselect\n", recorder->commands);
    MUST(speft_reselect(recorder->adapter, NULL, NULL, &error));
    for (int i = 0; i < RECORDER_PARAMETERS && moves_are_tracked; ++i) {
        if (parameter_roles[i] == SPEFT_ROLE_DENSE) continue;
        expect_moved(recorder, i, SPEFT_MOVED_DROPPED, "dropped");
        expect_moved(recorder, i, SPEFT_MOVED_GROWN, "grown");
    }
}

void attach(struct recorder *recorder) {
    fputs("attach\n", recorder->commands);
    MUST(speft_attach(recorder->adapter, &error));
}

void merge(struct recorder *recorder) {
    fputs("merge\n", recorder->commands);
    MUST(speft_merge(recorder->adapter, &error));
}

void unmerge(struct recorder *recorder) {
    fputs("unmerge\n", recorder->commands);
    MUST(speft_unmerge(recorder->adapter, &error));
}

static void load(struct recorder *recorder, const char *path,
                 speft_status (*call)(speft_context *, const speft_load_options *, const char *, speft_adapter **,
                                      speft_error **)) {
    speft_destroy_adapter(recorder->adapter);
    recorder->adapter = NULL;
    MUST(call(recorder->context, NULL, path, &recorder->adapter, &error));
    remove(path);
    bind_memory(recorder);
    MUST(speft_merge(recorder->adapter, &error));
}

void reload(struct recorder *recorder, int32_t format) {
    char path[4096];
    snprintf(path, sizeof path, "%s/adapter.safetensors", recorder->folder);
    speft_save_options options;
    speft_save_options_init(&options, sizeof options);
    options.format = format;
    fprintf(recorder->commands, "reload %s\n", name(formats, format));
    MUST(speft_unmerge(recorder->adapter, &error));
    MUST(speft_save_adapter(recorder->adapter, &options, path, &error));
    load(recorder, path, speft_load_adapter);
}

void resume(struct recorder *recorder) {
    char path[4096];
    snprintf(path, sizeof path, "%s/checkpoint.safetensors", recorder->folder);
    fputs("checkpoint\n", recorder->commands);
    MUST(speft_save_checkpoint(recorder->adapter, NULL, path, &error));
    load(recorder, path, speft_load_checkpoint);
}

void expect_masks(struct recorder *recorder) {
    for (int i = 0; i < RECORDER_PARAMETERS; ++i) {
        if (parameter_roles[i] == SPEFT_ROLE_DENSE) continue;
        int64_t count, indices[RECORDER_SCALARS];
        MUST(speft_get_selected_count(recorder->adapter, i, &count, &error));
        const speft_tensor tensor = view(indices, int64, 1, &count);
        MUST(speft_get_mask(recorder->adapter, i, &tensor, &error));
        fprintf(recorder->commands, "expect-mask %d", i);
        write_tensor(recorder, " ", &tensor);
        end_line(recorder);
    }
}

void expect_gradients(struct recorder *recorder) {
    for (int i = 0; i < RECORDER_PARAMETERS; ++i) {
        speft_tensor gradient;
        MUST(speft_get_gradient(recorder->adapter, i, &gradient, &error));
        fprintf(recorder->commands, "expect-gradient %d", i);
        write_tensor(recorder, " ", &gradient);
        end_line(recorder);
    }
}

void expect_values(struct recorder *recorder) {
    for (int i = 0; i < RECORDER_PARAMETERS; ++i) {
        speft_tensor deltas;
        const speft_tensor weights = weights_of(recorder, i);
        MUST(speft_get_deltas(recorder->adapter, i, &deltas, &error));
        fprintf(recorder->commands, "expect-deltas %d", i);
        write_tensor(recorder, " ", &deltas);
        if (is_quantized(recorder, i)) {
            struct quantized quantized;
            describe(recorder, i, &quantized);
            fprintf(recorder->commands, "\nexpect-quantized %d", i);
            write_quantized(recorder, &quantized);
            continue;
        }
        fprintf(recorder->commands, "\nexpect-weights %d", i);
        write_tensor(recorder, " ", &weights);
        end_line(recorder);
    }
}

/* Each token has one input, a power of two: an output is rounded once, whichever library computes it. */
void expect_linear(struct recorder *recorder) {
    const speft_dtype dtype = recorder->type->dtype;
    for (int i = 0; i < RECORDER_PARAMETERS; ++i) {
        if (parameter_roles[i] == SPEFT_ROLE_DENSE) continue;
        const int64_t x_shape[2] = {TOKENS, parameter_shapes[i][1]}, y_shape[2] = {TOKENS, parameter_shapes[i][0]};
        _Alignas(8) unsigned char inputs[RECORDER_SCALARS * 4] = {0}, outputs[RECORDER_SCALARS * 4] = {0};
        const speft_tensor x = view(inputs, dtype, 2, x_shape), y = view(outputs, dtype, 2, y_shape);
        for (int64_t token = 0; token < TOKENS; ++token)
            put(dtype, inputs, token * x_shape[1] + (3 * token + 1) % x_shape[1], token % 2 ? 0.5 : 0.25);
        MUST(speft_linear_forward(recorder->adapter, i, NULL, &x, &y, &error));
        fprintf(recorder->commands, "expect-linear %d tokens=%d", i, TOKENS);
        write_tensor(recorder, " x=", &x);
        write_tensor(recorder, " y=", &y);
        end_line(recorder);
    }
}

void expect_requantization(struct recorder *recorder) {
    for (int i = 0; i < RECORDER_PARAMETERS; ++i) {
        if (!is_quantized(recorder, i)) continue;
        speft_requantization done = {.struct_size = sizeof done};
        MUST(speft_get_requantization(recorder->adapter, i, &done, &error));
        fprintf(recorder->commands, "expect-requantization %d deltas=%" PRId64 " changed=%" PRId64
                " relative_error=%.17g\n", i, done.deltas, done.changed, done.relative_error);
    }
}

void finish_recording(struct recorder *recorder) {
    speft_destroy_adapter(recorder->adapter);
    speft_destroy_context(recorder->context);
    if (fclose(recorder->commands)) {
        perror(recorder->folder);
        exit(EXIT_FAILURE);
    }
}
