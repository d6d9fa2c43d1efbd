/* Memory and strings between Java and C. */
#pragma once

#include <jni.h>
#include <stdlib.h>
#include <string.h>

/* The bytes of a string, or NULL for NULL. */
static jbyteArray copy_string(JNIEnv *jenv, const char *text) {
    if (!text) return NULL;
    const jsize length = (jsize)strlen(text);
    jbyteArray bytes = (*jenv)->NewByteArray(jenv, length);
    if (bytes) (*jenv)->SetByteArrayRegion(jenv, bytes, 0, length, (const jbyte *)text);
    return bytes;
}

static jbyteArray read_string(JNIEnv *jenv, const void *text) { return copy_string(jenv, text); }

static void *allocate_zeroed(JNIEnv *jenv, int64_t bytes) {
    void *memory = calloc(bytes > 0 ? (size_t)bytes : 1, 1);
    if (!memory) {
        jclass kind = (*jenv)->FindClass(jenv, "java/lang/OutOfMemoryError");
        if (kind) (*jenv)->ThrowNew(jenv, kind, "no native memory for the arguments of a call");
    }
    return memory;
}

static void free_zeroed(void *memory) { free(memory); }

static jobject view_memory(JNIEnv *jenv, void *memory, int64_t bytes) {
    /* An empty mask has no memory, and a buffer has to have some. */
    static char nothing;
    return (*jenv)->NewDirectByteBuffer(jenv, memory ? memory : &nothing, memory ? bytes : 0);
}

static int64_t address_of(JNIEnv *jenv, jobject buffer) {
    return (int64_t)(intptr_t)(*jenv)->GetDirectBufferAddress(jenv, buffer);
}

static void run_body(void *body, void *argument, int64_t index) {
    ((void (*)(void *, int64_t))body)(argument, index);
}
