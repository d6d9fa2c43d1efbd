/* Numbers for tests, and the definitions of the headers written out once more in plain C. */
#ifndef SPEFT_TESTS_CAPI_NUMBERS_H
#define SPEFT_TESTS_CAPI_NUMBERS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Deterministic multiples of 2^-8 in [-1, 1): short enough that the sums and products of a test's size are exact in
 * float32, whatever their order. Every 32nd or so is zero, and many are equal. */
static inline void fill(float *values, int64_t count, uint32_t seed) {
    uint32_t state = seed * 2654435761u + 1u;
    for (int64_t i = 0; i < count; ++i) {
        state = state * 1664525u + 1013904223u;
        values[i] = ((float)(int32_t)(state >> 23) - 256.0f) / 256.0f;
    }
}

/* ---- 16-bit types: significand bits (the hidden one too) and the exponent of the smallest denormal ---- */

struct narrow {
    int significand;
    int smallest;
};

static const struct narrow narrow_bfloat16 = {8, -133};
static const struct narrow narrow_float16 = {11, -24};

/* The nearest value of the type, to even. Exact in double; no overflow in what the tests use. */
static inline double round_narrow(double value, struct narrow type) {
    int exponent;
    if (value == 0) return value;
    frexp(value, &exponent);
    int quantum = exponent - type.significand;
    if (quantum < type.smallest) quantum = type.smallest;
    return ldexp(nearbyint(ldexp(value, -quantum)), quantum);
}

/* The bits of a normal number, or zero, that the type has exactly. */
static inline uint16_t encode_narrow(double value, struct narrow type) {
    const int stored = type.significand - 1;
    const int bias = 1 - (type.smallest + stored);
    const uint16_t sign = signbit(value) ? 0x8000u : 0;
    int exponent;
    const double fraction = frexp(fabs(value), &exponent);
    if (fraction == 0) return sign;
    const uint32_t bits = (uint32_t)ldexp(fraction, type.significand);
    return (uint16_t)(sign | ((uint32_t)(exponent - 1 + bias) << stored) | (bits - (1u << stored)));
}

static inline double decode_narrow(uint16_t bits, struct narrow type) {
    const int stored = type.significand - 1;
    const int bias = 1 - (type.smallest + stored);
    const int exponent = (bits & 0x7fff) >> stored;
    const int fraction = bits & ((1 << stored) - 1);
    const double magnitude = exponent ? ldexp(fraction + (1 << stored), exponent - bias - stored)
                                      : ldexp(fraction, type.smallest);
    return bits & 0x8000u ? -magnitude : magnitude;
}

/* ---- AdamW, as optimizer.h defines it ---- */

struct adamw {
    double learning_rate, beta1, beta2, epsilon, weight_decay;
    int decay_to_zero;
};

static const struct adamw adamw_defaults = {1e-3, 0.9, 0.999, 1e-8, 0, 0};

/* One scalar of a float32 weight: θ0 + φ. A dense parameter's φ is the weight itself, and its θ0 counts as 0. */
struct scalar {
    float original, delta, moment1, moment2;
    int age;
};

/* One update; returns the new weight. */
static inline float update_scalar(struct scalar *scalar, float gradient, struct adamw adamw) {
    const int a = ++scalar->age;
    const float decay = (float)(adamw.learning_rate * adamw.weight_decay);
    const float correction1 = (float)(1 / (1 - pow(adamw.beta1, a)));
    const float correction2 = (float)(1 / sqrt(1 - pow(adamw.beta2, a)));
    const float pulled = adamw.decay_to_zero ? scalar->original + scalar->delta : scalar->delta;
    scalar->delta -= decay * pulled;
    scalar->moment1 = (float)adamw.beta1 * scalar->moment1 + (float)(1 - adamw.beta1) * gradient;
    scalar->moment2 = (float)adamw.beta2 * scalar->moment2 + (float)(1 - adamw.beta2) * gradient * gradient;
    scalar->delta -= (float)adamw.learning_rate * correction1 * scalar->moment1 /
                     (sqrtf(scalar->moment2) * correction2 + (float)adamw.epsilon);
    return scalar->original + scalar->delta;
}

#endif
