/* Weights to codes and back: what bitsandbytes' layout says of small cases, and every refusal by name. */
#include "numbers.h"
#include "quantized.h"

/* The widest step between neighbouring levels, of a scale of 1. */
static float widest_step(int32_t kind) {
    return kind == SPEFT_WEIGHTS_INT8 ? 1.0f / 127 : kind == SPEFT_WEIGHTS_NF4 ? 0.304f : 0.334f;
}

static void test_round_trip(void) {
    speft_context *context = create_context();
    float weights[SCALARS], after[SCALARS];
    fill(weights, SCALARS, 1);
    for (int32_t kind = SPEFT_WEIGHTS_NF4; kind <= SPEFT_WEIGHTS_INT8; ++kind) {
        for (int twice = 0; twice < (kind == SPEFT_WEIGHTS_INT8 ? 1 : 2); ++twice) {
            struct quantized quantized;
            start_quantized(&quantized, kind, twice);
            const speft_tensor from = view(weights, float32, 2, matrix), to = view(after, float32, 2, matrix);
            CHECK_OK(speft_quantize(context, &from, &quantized.weights, &error));
            CHECK_OK(speft_dequantize(context, &quantized.weights, &to, &error));
            const int block = kind == SPEFT_WEIGHTS_INT8 ? COLUMNS : BLOCK;
            for (int begin = 0; begin < SCALARS; begin += block) {
                const int end = begin + block < SCALARS ? begin + block : SCALARS;
                float absmax = 0;
                for (int i = begin; i < end; ++i) absmax = fmaxf(absmax, fabsf(weights[i]));
                if (!twice) CHECK(quantized.absmax[begin / block] == absmax);
                /* Half a step, and what a code of 8 bits takes from the scale: at most half of 9/640. */
                const float bound = absmax * (widest_step(kind) / 2 + 1e-6f + (twice ? 0.008f : 0));
                for (int i = begin; i < end; ++i) CHECK(fabsf(after[i] - weights[i]) <= bound);
            }
        }
    }
    speft_destroy_context(context);
}

static void test_codes(void) {
    speft_context *context = create_context();
    struct quantized quantized;
    start_quantized(&quantized, SPEFT_WEIGHTS_NF4, 0);
    const int64_t counts[] = {65}, bytes[] = {33}, two[] = {2};
    float weights[65] = {0};
    weights[0] = 2;
    weights[1] = -2;
    weights[2] = 0.5f;
    quantized.code_view.shape = (int64_t *)bytes;
    quantized.code_view.ndim = 1;
    quantized.absmax_view.shape = (int64_t *)two;
    speft_tensor tensor = view(weights, float32, 1, counts);
    CHECK_OK(speft_quantize(context, &tensor, &quantized.weights, &error));
    /* The first of two is the upper half; 7 is zero; after an odd count comes a zero. */
    CHECK_EQUAL(quantized.codes[0], 0xf0);
    CHECK_EQUAL(quantized.codes[1], 0xa7);
    CHECK_EQUAL(quantized.codes[2], 0x77);
    CHECK_EQUAL(quantized.codes[32], 0x77);
    CHECK_EQUAL(quantized.codes[33], 0xa5);
    CHECK(quantized.absmax[0] == 2);
    CHECK(quantized.absmax[1] == 1e-38f); /* bitsandbytes' floor, which it stores of a short block alone */
    CHECK_OK(speft_dequantize(context, &quantized.weights, &tensor, &error));
    CHECK(weights[0] == 2 && weights[1] == -2 && weights[2] == 2 * 0.24611230194568634f && weights[64] == 0);

    /* A table of one's own, in an order of its own. */
    float levels[16];
    for (int i = 0; i < 16; ++i) levels[i] = 1 - (float)i / 8;
    quantized.quantization.levels = VECTOR(levels, float32, 16);
    CHECK_OK(speft_quantize(context, &tensor, &quantized.weights, &error));
    CHECK_EQUAL(quantized.codes[0], 0x0f); /* -2 is nearest to -7/8 */
    CHECK_EQUAL(quantized.codes[32], 0x88);
    CHECK_OK(speft_dequantize(context, &quantized.weights, &tensor, &error));
    CHECK(weights[0] == 2 && weights[1] == -1.75f && weights[64] == 0);
    speft_destroy_context(context);
}

static void test_types(void) {
    speft_context *context = create_context();
    uint16_t weights[SCALARS], after[SCALARS];
    float wide[SCALARS];
    struct quantized quantized;
    start_quantized(&quantized, SPEFT_WEIGHTS_NF4, 0);
    for (int i = 0; i < SCALARS; ++i) weights[i] = (uint16_t)(0x3f80 + i % 64); /* from 1 on */
    const speft_tensor from = view(weights, bfloat16, 2, matrix), to = view(after, bfloat16, 2, matrix);
    const speft_tensor to_float = view(wide, float32, 2, matrix);
    CHECK_OK(speft_quantize(context, &from, &quantized.weights, &error));
    CHECK(quantized.absmax[0] == 1.4921875f);
    CHECK_OK(speft_dequantize(context, &quantized.weights, &to, &error));
    CHECK_OK(speft_dequantize(context, &quantized.weights, &to_float, &error));
    for (int i = 0; i < SCALARS; ++i) {
        const uint32_t bits = (uint32_t)after[i] << 16;
        float narrow;
        memcpy(&narrow, &bits, sizeof narrow);
        CHECK(fabsf(narrow - wide[i]) <= 0x1p-9f * wide[i]); /* half a unit of 8 bits */
    }
    speft_destroy_context(context);
}

static void test_nothing(void) {
    speft_context *context = create_context();
    const int64_t none[] = {0}, rows[] = {BLOCKS, 0};
    struct quantized quantized;
    start_quantized(&quantized, SPEFT_WEIGHTS_NF4, 1);
    quantized.code_view.shape = quantized.absmax_view.shape = quantized.absmax_absmax_view.shape = (int64_t *)none;
    quantized.code_view.ndim = 1;
    quantized.absmax_offset[0] = 7;
    speft_tensor empty = view(NULL, float32, 1, none);
    CHECK_OK(speft_quantize(context, &empty, &quantized.weights, &error));
    CHECK(quantized.absmax_offset[0] == 0);
    CHECK_OK(speft_dequantize(context, &quantized.weights, &empty, &error));

    start_quantized(&quantized, SPEFT_WEIGHTS_INT8, 0);
    quantized.code_view.shape = (int64_t *)rows;
    quantized.absmax[3] = 7;
    empty = view(NULL, float32, 2, rows);
    CHECK_OK(speft_quantize(context, &empty, &quantized.weights, &error));
    CHECK(quantized.absmax[3] == 0);
    CHECK_OK(speft_dequantize(context, &quantized.weights, &empty, &error));
    speft_destroy_context(context);
}

/* ---- refusals ---- */

static speft_context *refusing;
static float refused_weights[SCALARS];

/* Both directions refuse it, and write nothing. */
static void check_refused(const struct quantized *quantized, const char *text) {
    const struct quantized before = *quantized;
    const speft_tensor tensor = view(refused_weights, float32, 2, matrix);
    float weights[SCALARS];
    memcpy(weights, refused_weights, sizeof weights);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, text, speft_quantize(refusing, &tensor, &quantized->weights, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, text, speft_dequantize(refusing, &quantized->weights, &tensor, &error));
    CHECK_BYTES(quantized, &before, sizeof before);
    CHECK_BYTES(refused_weights, weights, sizeof weights);
}

#define CHECK_RECORD(kind, twice, text, change)  \
    do {                                         \
        struct quantized quantized;              \
        start_quantized(&quantized, (kind), (twice));      \
        speft_quantization *record = &quantized.quantization; \
        (void)record;                            \
        change;                                  \
        check_refused(&quantized, (text));       \
    } while (0)

static void test_records(void) {
    refusing = create_context();
    fill(refused_weights, SCALARS, 3);
    float levels[256] = {0};
    const int32_t nf4 = SPEFT_WEIGHTS_NF4, fp4 = SPEFT_WEIGHTS_FP4, of_int8 = SPEFT_WEIGHTS_INT8;
    const int64_t short_by_one[] = {SCALARS / 2 - 1}, four[] = {4}, turned[] = {COLUMNS, ROWS};

    CHECK_RECORD(nf4, 0, "kind", quantized.weights.kind = SPEFT_WEIGHTS_DENSE);
    CHECK_RECORD(nf4, 0, "kind", quantized.weights.kind = 4);
    CHECK_RECORD(nf4, 0, "quantized.quantization", quantized.weights.quantization = NULL);
    CHECK_RECORD(nf4, 0, "quantized.data", quantized.weights.data = NULL);
    CHECK_RECORD(nf4, 0, "quantized.absmax", record->absmax = NULL);
    CHECK_RECORD(nf4, 0, "struct_size", record->struct_size = 8);
    const int32_t blocks[] = {0, -64, 16, 48, 100, 8192};
    for (int i = 0; i < COUNT_OF(blocks); ++i) CHECK_RECORD(fp4, 0, "block", record->block = blocks[i]);
    CHECK_RECORD(nf4, 0, "quantized.absmax must have 9", record->block = 32);
    CHECK_RECORD(nf4, 0, "quantized.data must have 130",
                 (quantized.code_view.shape = (int64_t *)short_by_one, quantized.code_view.ndim = 1));
    CHECK_RECORD(nf4, 0, "quantized.data must be uint8", quantized.code_view.dtype = int8);
    CHECK_RECORD(nf4, 0, "quantized.absmax must have 5", quantized.absmax_view.shape = (int64_t *)four);
    CHECK_RECORD(nf4, 0, "quantized.absmax must be float32", quantized.absmax_view.dtype = int8);
    CHECK_RECORD(nf4, 0, "quantized.absmax must be on", quantized.absmax_view.device = other_device());
    CHECK_RECORD(nf4, 0, "quantized.levels must have 16", record->levels = VECTOR(levels, float32, 15));
    CHECK_RECORD(nf4, 0, "quantized.levels must be float32", record->levels = VECTOR(levels, bfloat16, 16));
    levels[3] = NAN;
    CHECK_RECORD(nf4, 0, "quantized.levels must be in [-1, 1]", record->levels = VECTOR(levels, float32, 16));
    levels[3] = 1.5f;
    CHECK_RECORD(nf4, 0, "quantized.levels must be in [-1, 1]", record->levels = VECTOR(levels, float32, 16));
    levels[3] = 0.5f;
    CHECK_RECORD(nf4, 1, "quantized.absmax_levels must rise", record->absmax_levels = VECTOR(levels, float32, 256));
    CHECK_RECORD(nf4, 1, "quantized.absmax_levels must have 256", record->absmax_levels = VECTOR(levels, float32, 9));
    CHECK_RECORD(nf4, 1, "absmax_block", record->absmax_block = 0);
    CHECK_RECORD(nf4, 1, "absmax_offset", record->absmax_offset = NULL);
    CHECK_RECORD(nf4, 1, "absmax_offset must have 1", quantized.absmax_offset_view = quantized.absmax_view;
                 quantized.absmax_offset_view.dtype = float32);
    CHECK_RECORD(nf4, 1, "absmax_absmax must have 1", quantized.absmax_absmax_view.shape = (int64_t *)four);
    CHECK_RECORD(nf4, 1, "quantized.absmax must be uint8", quantized.absmax_view.dtype = int8);
    CHECK_RECORD(nf4, 0, "need absmax_absmax", record->absmax_block = 256);
    CHECK_RECORD(nf4, 0, "need absmax_absmax", record->absmax_offset = &quantized.absmax_offset_view);
    CHECK_RECORD(of_int8, 0, "block of INT8", record->block = 64);
    CHECK_RECORD(of_int8, 0, "INT8 has neither", record->levels = VECTOR(levels, float32, 16));
    CHECK_RECORD(of_int8, 0, "INT8 has neither", record->absmax_absmax = &quantized.absmax_absmax_view);
    CHECK_RECORD(of_int8, 0, "quantized.data must have shape", quantized.code_view.shape = (int64_t *)turned);
    CHECK_RECORD(of_int8, 0, "quantized.data must be int8", quantized.code_view.dtype = uint8);
    speft_destroy_context(refusing);
}

static void test_weights(void) {
    speft_context *context = create_context();
    float weights[SCALARS];
    for (int32_t kind = SPEFT_WEIGHTS_NF4; kind <= SPEFT_WEIGHTS_INT8; ++kind) {
        struct quantized quantized;
        start_quantized(&quantized, kind, 0);
        const struct quantized before = quantized;
        const float bad[] = {NAN, INFINITY, -INFINITY};
        for (int i = 0; i < COUNT_OF(bad); ++i) {
            fill(weights, SCALARS, 1);
            weights[7] = weights[SCALARS - 1] = bad[i];
            const speft_tensor tensor = view(weights, float32, 2, matrix);
            CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "2 of 260",
                        speft_quantize(context, &tensor, &quantized.weights, &error));
            CHECK_BYTES(&quantized, &before, sizeof before);
        }
    }
    struct quantized quantized;
    start_quantized(&quantized, SPEFT_WEIGHTS_NF4, 0);
    const speft_tensor indices = view(weights, int64, 1, five);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "weights must be float32",
                speft_quantize(context, &indices, &quantized.weights, &error));
    speft_tensor elsewhere = view(weights, float32, 2, matrix);
    elsewhere.device = other_device();
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "weights must be on",
                speft_dequantize(context, &quantized.weights, &elsewhere, &error));
    const speft_tensor tensor = view(weights, float32, 2, matrix);
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "context", speft_quantize(NULL, &tensor, &quantized.weights, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "weights", speft_quantize(context, NULL, &quantized.weights, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "quantized", speft_quantize(context, &tensor, NULL, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "context", speft_dequantize(NULL, &quantized.weights, &tensor, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "quantized", speft_dequantize(context, NULL, &tensor, &error));
    CHECK_FAILS(SPEFT_INVALID_ARGUMENT, "weights", speft_dequantize(context, &quantized.weights, NULL, &error));
    speft_destroy_context(context);
}

int main(void) {
    RUN(test_round_trip);
    RUN(test_codes);
    RUN(test_types);
    RUN(test_nothing);
    RUN(test_records);
    RUN(test_weights);
    return check_result();
}
