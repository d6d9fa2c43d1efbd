/* The library's callbacks, handed to `org.speft.internal.Upcalls`. `user` is a global reference to the Java object.
 *
 * The Java side keeps what an object throws, for the caller; only what it cannot keep (its own stack has no room left)
 * stays pending here, where nothing more may be asked of the JVM: later callbacks of the same call then do nothing. */
#pragma once

#include <errno.h>
#include <jni.h>
#include <stdint.h>

#include "speft/speft.h"

static struct {
    JavaVM *machine;
    jclass upcalls;
    jmethodID make_failure, report, write, score, log, run, allocate, deallocate;
} java;

/* The environment of this thread, attached if it is not Java's; NULL when the JVM is going down. */
static JNIEnv *attach_java(void) {
    JNIEnv *jenv = NULL;
    if ((*java.machine)->GetEnv(java.machine, (void **)&jenv, JNI_VERSION_1_8) == JNI_OK ||
        (*java.machine)->AttachCurrentThreadAsDaemon(java.machine, (void **)&jenv, NULL) == JNI_OK)
        return jenv;
    return NULL;
}

/* NULL when nothing can be called, as also while an exception is on its way. */
static JNIEnv *enter_java(void) {
    JNIEnv *jenv = attach_java();
    return !jenv || (*jenv)->ExceptionCheck(jenv) ? NULL : jenv;
}

static jint cancelled_or(JNIEnv *jenv, jint answer) { return (*jenv)->ExceptionCheck(jenv) ? 1 : answer; }

static int32_t report_progress(void *user, int64_t done, int64_t total) {
    JNIEnv *jenv = enter_java();
    if (!jenv) return 1;
    const jint answer = (*jenv)->CallStaticIntMethod(jenv, java.upcalls, java.report, (jobject)user, (jlong)done,
                                                     (jlong)total);
    return cancelled_or(jenv, answer);
}

static int32_t write_bytes(void *user, const void *bytes, uint64_t count) {
    JNIEnv *jenv = enter_java();
    if (!jenv) return EIO;
    const jint answer = (*jenv)->CallStaticIntMethod(jenv, java.upcalls, java.write, (jobject)user,
                                                     (jlong)(intptr_t)bytes, (jlong)count);
    return (*jenv)->ExceptionCheck(jenv) ? EIO : answer;
}

static int32_t compute_scores(void *user, int64_t parameter, const speft_tensor *weights, const speft_tensor *gradient,
                              const speft_tensor *scores) {
    JNIEnv *jenv = enter_java();
    if (!jenv) return 1;
    const jint answer = (*jenv)->CallStaticIntMethod(jenv, java.upcalls, java.score, (jobject)user, (jlong)parameter,
                                                     (jlong)(intptr_t)weights, (jlong)(intptr_t)gradient,
                                                     (jlong)(intptr_t)scores);
    return cancelled_or(jenv, answer);
}

static void write_log(void *user, int32_t level, const char *message) {
    JNIEnv *jenv = enter_java();
    if (!jenv) return;
    (*jenv)->CallStaticVoidMethod(jenv, java.upcalls, java.log, (jobject)user, (jint)level,
                                  (jlong)(intptr_t)message);
}

static void run_on_executor(void *user, int64_t count, void (*body)(void *argument, int64_t index), void *argument) {
    JNIEnv *jenv = enter_java();
    if (jenv) {
        const jboolean done = (*jenv)->CallStaticBooleanMethod(jenv, java.upcalls, java.run, (jobject)user,
                                                               (jlong)count, (jlong)(intptr_t)body,
                                                               (jlong)(intptr_t)argument);
        if (done && !(*jenv)->ExceptionCheck(jenv)) return;
    }
    /* Java had no room to begin: a loop cannot be cancelled, and it has not started. */
    for (int64_t index = 0; index < count; ++index) body(argument, index);
}

static void *allocate_memory(void *user, uint64_t bytes, uint64_t alignment, void *stream) {
    JNIEnv *jenv = enter_java();
    if (!jenv) return NULL;
    const jlong memory = (*jenv)->CallStaticLongMethod(jenv, java.upcalls, java.allocate, (jobject)user, (jlong)bytes,
                                                       (jlong)alignment, (jlong)(intptr_t)stream);
    return (*jenv)->ExceptionCheck(jenv) ? NULL : (void *)(intptr_t)memory;
}

/* Memory has to go back whatever else has happened: an exception on its way waits. */
static void free_memory(void *user, void *memory, uint64_t bytes, void *stream) {
    JNIEnv *jenv = attach_java();
    if (!jenv) return;
    jthrowable waiting = (*jenv)->ExceptionOccurred(jenv);
    (*jenv)->ExceptionClear(jenv);
    (*jenv)->CallStaticVoidMethod(jenv, java.upcalls, java.deallocate, (jobject)user, (jlong)(intptr_t)memory,
                                  (jlong)bytes, (jlong)(intptr_t)stream);
    if (waiting) {
        (*jenv)->ExceptionClear(jenv);
        (*jenv)->Throw(jenv, waiting);
    }
}

/* ---- references: deleting one is allowed while an exception is pending ---- */

static void *keep_reference(JNIEnv *jenv, jobject object) { return (*jenv)->NewGlobalRef(jenv, object); }

static void drop_reference(void *reference) {
    JNIEnv *jenv = attach_java();
    if (jenv) (*jenv)->DeleteGlobalRef(jenv, (jobject)reference);
}

/* ---- the library is loaded: by a class whose loader knows Upcalls ---- */

static jmethodID find_upcall(JNIEnv *jenv, const char *name, const char *signature) {
    return (*jenv)->ExceptionCheck(jenv) ? NULL
                                         : (*jenv)->GetStaticMethodID(jenv, java.upcalls, name, signature);
}

JNIEXPORT jint JNICALL JNI_OnLoad(JavaVM *machine, void *reserved) {
    (void)reserved;
    JNIEnv *jenv = NULL;
    java.machine = machine;
    if ((*machine)->GetEnv(machine, (void **)&jenv, JNI_VERSION_1_8) != JNI_OK) return JNI_ERR;
    jclass upcalls = (*jenv)->FindClass(jenv, "org/speft/internal/Upcalls");
    if (!upcalls) return JNI_ERR;
    java.upcalls = (*jenv)->NewGlobalRef(jenv, upcalls);
    java.make_failure = find_upcall(jenv, "makeFailure", "(I[B[BJ)Ljava/lang/Throwable;");
    java.report = find_upcall(jenv, "report", "(Ljava/lang/Object;JJ)I");
    java.write = find_upcall(jenv, "write", "(Ljava/lang/Object;JJ)I");
    java.score = find_upcall(jenv, "score", "(Ljava/lang/Object;JJJJ)I");
    java.log = find_upcall(jenv, "log", "(Ljava/lang/Object;IJ)V");
    java.run = find_upcall(jenv, "run", "(Ljava/lang/Object;JJJ)Z");
    java.allocate = find_upcall(jenv, "allocate", "(Ljava/lang/Object;JJJ)J");
    java.deallocate = find_upcall(jenv, "deallocate", "(Ljava/lang/Object;JJJ)V");
    return (*jenv)->ExceptionCheck(jenv) ? JNI_ERR : JNI_VERSION_1_8;
}
