/* Prints "0.50 -0.25", the weights that moved. */
#include <stdio.h>

#include "life.h"

int main(void) {
    float weights[64];
    const char *implementation;
    const struct library library = linked_library();
    if (live(&library, weights, &implementation)) return 1;
    printf("%.2f %.2f\n", weights[10], weights[33]);
    return 0;
}
