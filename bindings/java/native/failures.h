/* Failures of the C API as Java exceptions. */
#pragma once

#include <jni.h>

#include "bindings/java/native/callbacks.h"
#include "bindings/java/native/memory.h"
#include "speft/speft.h"

/* Throws the exception of a failure; nothing for NULL. An exception that is on its way already (of a callback, that the
 * failure follows from) stays. */
static void throw_failure(JNIEnv *jenv, const speft_error *error) {
    if (!error || (*jenv)->ExceptionCheck(jenv)) return;
    jbyteArray message = copy_string(jenv, speft_get_error_message(error));
    jbyteArray backend = message ? copy_string(jenv, speft_get_error_backend(error)) : NULL;
    if (!backend) return;
    jobject failure = (*jenv)->CallStaticObjectMethod(jenv, java.upcalls, java.make_failure,
                                                      (jint)speft_get_error_status(error), message, backend,
                                                      (jlong)speft_get_error_native_code(error));
    if (!(*jenv)->ExceptionCheck(jenv) && failure) (*jenv)->Throw(jenv, (jthrowable)failure);
}

static void throw_null_handle(JNIEnv *jenv, const char *noun) {
    jclass kind = (*jenv)->FindClass(jenv, "java/lang/NullPointerException");
    if (kind) (*jenv)->ThrowNew(jenv, kind, noun);
}
