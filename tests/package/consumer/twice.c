/* Two copies of the library in one process: the program's own, from the archive, and the shared one of argv[1], which
 * is opened late. Each keeps its state to itself, and they give the same bits by the same code. Linked with -rdynamic, so that the
 * program's own functions stand in front of the shared ones of the same names. Prints "0.50 -0.25". */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "life.h"

struct one_life {
    const struct library *library;
    float weights[64];
    const char *implementation;
    int failed;
};

static void *live_in_thread(void *argument) {
    struct one_life *life = argument;
    life->failed = live(life->library, life->weights, &life->implementation);
    return NULL;
}

int main(int count, char **arguments) {
    void *shared = count == 2 ? dlopen(arguments[1], RTLD_NOW | RTLD_GLOBAL) : NULL;
    if (!shared) {
        fprintf(stderr, "usage: twice libspeft.so.0 (%s)\n", count == 2 ? dlerror() : "one argument");
        return 2;
    }
    const struct library own = linked_library();
    struct library other;
#define MEMBER(name) *(void **)&other.name = dlsym(shared, #name);
    CALLS(MEMBER)
#undef MEMBER
    if (other.speft_create_context == own.speft_create_context) {
        fprintf(stderr, "there is one copy only\n");
        return 1;
    }
    struct one_life lives[2] = {{.library = &own}, {.library = &other}};
    for (int round = 0; round < 2; ++round) { /* after each other, then side by side */
        pthread_t thread;
        if (pthread_create(&thread, NULL, live_in_thread, &lives[0])) return 1;
        if (round == 0) pthread_join(thread, NULL);
        live_in_thread(&lives[1]);
        if (round == 1) pthread_join(thread, NULL);
        if (lives[0].failed || lives[1].failed) return 1;
        if (memcmp(lives[0].weights, lives[1].weights, sizeof lives[0].weights) != 0 ||
            strcmp(lives[0].implementation, lives[1].implementation) != 0) {
            fprintf(stderr, "the copies differ\n");
            return 1;
        }
    }
    printf("%.2f %.2f\n", lives[0].weights[10], lives[0].weights[33]);
    return 0;
}
