/* What every C program writes once: stopping with a message, memory, random numbers. */
#ifndef SENTIMENT_SUPPORT_H
#define SENTIMENT_SUPPORT_H

#include <stdint.h>

/* Prints "error: " and the message, and ends the program with status 1. */
_Noreturn void fail(const char *format, ...);

/* `count` zeroed floats; ends the program when there is no memory. */
float *allocate_floats(int64_t count);

/* The next number of a sequence that `*state` alone determines. */
uint64_t draw(uint64_t *state);

#endif
