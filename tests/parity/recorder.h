/* Does what a case says through the C ABI, and writes down each command and its arrays as it does: see README.md for
 * the form. A call that fails ends the program with its message. */
#ifndef SPEFT_TESTS_PARITY_RECORDER_H
#define SPEFT_TESTS_PARITY_RECORDER_H

#include <stdint.h>
#include <stdio.h>

#include <speft/speft.h>

enum { RECORDER_PARAMETERS = 3, RECORDER_ROWS = 24, RECORDER_SCALARS = RECORDER_ROWS * 16, RECORDER_BLOCK = 64 };

/* A type of weights: how it is called, and its values' bits. */
struct scalar_type {
    const char *name;
    speft_dtype dtype;
};

/* Quantized weights: an int8 scale a row, or 4 bits and scales that are quantized themselves. */
struct recorder_codes {
    uint8_t codes[RECORDER_SCALARS];
    uint8_t absmax_codes[RECORDER_SCALARS / RECORDER_BLOCK];
    float absmax[RECORDER_ROWS], absmax_absmax[1], absmax_offset[1];
};

struct recorder {
    FILE *commands;
    const char *folder;
    int files; /* arrays so far */
    const struct scalar_type *type;
    int32_t delta_type;
    speft_context *context;
    speft_adapter *adapter;
    _Alignas(8) unsigned char memory[RECORDER_PARAMETERS][RECORDER_SCALARS * 4]; /* the host's weights */
    int32_t kind; /* SPEFT_WEIGHTS_… of the sparse parameters */
    struct recorder_codes codes[RECORDER_PARAMETERS];
};

/* The parameters of every case: two matrices of which a mask is trained, and a dense one. */
extern const char *const parameter_names[RECORDER_PARAMETERS];
extern const int32_t parameter_roles[RECORDER_PARAMETERS];
extern const int64_t parameter_shapes[RECORDER_PARAMETERS][2];

/* `folder` is there, empty, and outlives the recorder. */
void start_recording(struct recorder *recorder, const char *folder, int threads, const struct scalar_type *type,
                     int32_t kind);
void create(struct recorder *recorder, const speft_selection_options *selection,
            const speft_optimizer_options *optimizer, int32_t delta_type);
/* Weights with these seeds' values, the sparse parameters' quantized where the recording's kind says so. */
void bind_all(struct recorder *recorder, uint32_t seed);
void set_masks(struct recorder *recorder, uint32_t seed);
void set_scores(struct recorder *recorder, uint32_t seed);
void set_references(struct recorder *recorder, uint32_t seed);

/* A basis for each sparse parameter, fitted from two gradients. */
void bind_bases(struct recorder *recorder);

enum gradient_form { DENSE, ACTIVATIONS, EXAMPLES, VALUES };

/* One batch: a gradient of every parameter, and its end. */
void observe_batch(struct recorder *recorder, enum gradient_form form, double weight, int announced, uint32_t seed);
void select_masks(struct recorder *recorder);
void accumulate_all(struct recorder *recorder, enum gradient_form form, uint32_t seed);
void clip(struct recorder *recorder, double max_norm);
void step(struct recorder *recorder, const speft_hyperparameters *hyperparameters);
void reselect(struct recorder *recorder, int moves_are_tracked);
void attach(struct recorder *recorder);
void merge(struct recorder *recorder);
void unmerge(struct recorder *recorder);
void reload(struct recorder *recorder, int32_t format);
void resume(struct recorder *recorder);
/* What is there now, to be met to the bit. */
void expect_masks(struct recorder *recorder);
void expect_gradients(struct recorder *recorder);
void expect_values(struct recorder *recorder);
/* The products of layers that train beside their weights. */
void expect_linear(struct recorder *recorder);
/* What merging has left of the deltas of quantized weights. */
void expect_requantization(struct recorder *recorder);
void finish_recording(struct recorder *recorder);

const char *name_of_method(int32_t method);

#endif
