/* Which functions of libspeft a program calls. To be preloaded: it has a function of each name that notes the call and
 * goes on to the real one, in whichever libspeft the program has loaded, so that it works for a host of any language.
 *
 * SPEFT_CALLS names a folder; a process that ends leaves a file there with the names it has called, one a line.
 * For x86-64 and the C calling convention of Linux. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CALL(index, name) #name,
static const char *const names[] = {
#include "calls.inc"
};
#undef CALL

enum { COUNT = sizeof names / sizeof *names };
static _Atomic(void *) real[COUNT];

static int note_library(struct dl_phdr_info *object, size_t size, void *path) {
    const char *file = strrchr(object->dlpi_name, '/');
    (void)size;
    if (strncmp(file ? file + 1 : object->dlpi_name, "libspeft.so", 11) != 0) return 0;
    snprintf(path, 4096, "%s", object->dlpi_name);
    return 1;
}

/* Called by the functions below, with the arguments of theirs put by. */
__attribute__((visibility("hidden"), used)) void *note_call(int index) {
    void *function = atomic_load(&real[index]);
    if (function) return function;
    char path[4096] = "";
    dl_iterate_phdr(note_library, path);
    void *library = *path ? dlopen(path, RTLD_NOLOAD | RTLD_LAZY) : NULL;
    function = library ? dlsym(library, names[index]) : NULL;
    if (!function) {
        fprintf(stderr, "calls: no libspeft.so with %s is loaded\n", names[index]);
        abort();
    }
    atomic_store(&real[index], function);
    return function;
}

/* A function of libspeft: its number, then what all of them share. */
#define CALL(index, name)                                                     \
    __asm__(".text\n.globl " #name "\n.type " #name ", @function\n" #name ":\n" \
            "endbr64\n mov $" #index ", %eax\n jmp note_and_go_on\n.size " #name ", .-" #name "\n");
#include "calls.inc"

/* Puts by the registers that hold arguments, asks for the real function, and jumps to it. On entry the stack is 8 bytes
 * off a multiple of 16; the six pushes and 136 bytes bring it there. */
__asm__(".text\n.local note_and_go_on\n.type note_and_go_on, @function\nnote_and_go_on:\n"
        "push %rdi\n push %rsi\n push %rdx\n push %rcx\n push %r8\n push %r9\n"
        "sub $136, %rsp\n"
        "movups %xmm0, (%rsp)\n movups %xmm1, 16(%rsp)\n movups %xmm2, 32(%rsp)\n movups %xmm3, 48(%rsp)\n"
        "movups %xmm4, 64(%rsp)\n movups %xmm5, 80(%rsp)\n movups %xmm6, 96(%rsp)\n movups %xmm7, 112(%rsp)\n"
        "mov %eax, %edi\n call note_call\n mov %rax, %r11\n"
        "movups (%rsp), %xmm0\n movups 16(%rsp), %xmm1\n movups 32(%rsp), %xmm2\n movups 48(%rsp), %xmm3\n"
        "movups 64(%rsp), %xmm4\n movups 80(%rsp), %xmm5\n movups 96(%rsp), %xmm6\n movups 112(%rsp), %xmm7\n"
        "add $136, %rsp\n"
        "pop %r9\n pop %r8\n pop %rcx\n pop %rdx\n pop %rsi\n pop %rdi\n"
        "jmp *%r11\n.size note_and_go_on, .-note_and_go_on\n");

__attribute__((destructor)) static void write_names(void) {
    const char *folder = getenv("SPEFT_CALLS");
    char path[4096];
    FILE *file = NULL;
    if (!folder || snprintf(path, sizeof path, "%s/%ld", folder, (long)getpid()) >= (int)sizeof path) return;
    for (int index = 0; index < COUNT; ++index) {
        if (!atomic_load(&real[index])) continue;
        if (!file && !(file = fopen(path, "a"))) {
            perror(path);
            return;
        }
        fprintf(file, "%s\n", names[index]);
    }
    if (file && fclose(file)) perror(path);
}
