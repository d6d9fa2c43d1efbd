/* Java's typemaps over the C API. The result is `org.speft.internal` over libspeft_java.so, which only the hand-written
 * package uses: plain functions and structs, no policy.
 *
 * Whatever is a pointer is an address, a long: handles, strings (UTF-8, ended by 0), arrays, memory. A struct borrows
 * what its pointers point to: whoever fills it in keeps that. A fallible function throws the exception of its status;
 * otherwise it returns its one result, if there is one: a handle, a count, a string's address. */
%module(jniclassname="CapiJNI") Capi

%{
#include "bindings/java/native/callbacks.h"
#include "bindings/java/native/failures.h"
#include "bindings/java/native/memory.h"
%}

/* Constants of Java itself, so that enums can be made of them before the library is loaded. */
%javaconst(1);

/* Memory is freed by the hand-written layer, in a known place, never by the garbage collector's finalizer. */
%typemap(javafinalize) SWIGTYPE ""
%typemap(javainterfaces) SWIGTYPE "AutoCloseable"
%typemap(javacode) SWIGTYPE %{
  @Override
  public void close() { delete(); }
%}
SWIG_JAVABODY_PROXY(public, public, SWIGTYPE)
%typemap(check) SWIGTYPE *self {
    if (!$1) {
        throw_null_handle(jenv, "$1_basetype");
        return $null;
    }
}

/* ---- addresses ---- */

%define ADDRESS(type)
%typemap(jni) type "jlong"
%typemap(jtype) type "long"
%typemap(jstype) type "long"
%typemap(javain) type "$javainput"
%typemap(javaout) type { return $jnicall; }
%typemap(in) type "$1 = ($1_ltype)(intptr_t)$input;"
%typemap(out) type "$result = (jlong)(intptr_t)$1;"
%typemap(memberin) type "$1 = (void *)$input;"
%typemap(freearg) type ""
%typemap(argout) type ""
%enddef

ADDRESS(void *)
ADDRESS(const void *)
ADDRESS(int64_t *)
ADDRESS(const int64_t *)
ADDRESS(speft_adapter *const *)
ADDRESS(const speft_parameter *const *)
ADDRESS(const speft_hyperparameters *const *)
ADDRESS(const speft_basis_options *const *)

/* A string that a function returns is copied, from UTF-8 and not from the JVM's own variety of it. One that goes in, or
 * is in a struct, is an address. */
%typemap(jni) const char * "jbyteArray"
%typemap(jtype) const char * "byte[]"
%typemap(jstype) const char * "String"
%typemap(out) const char * "$result = copy_string(jenv, $1);"
%typemap(javaout) const char * { return Memory.decode($jnicall); }
ADDRESS(const char *backend)
ADDRESS(const char *backend_path)
ADDRESS(const char *name)
ADDRESS(const char *operation)
ADDRESS(const char *path)
ADDRESS(const char *reason)
ADDRESS(const char *version)

/* ---- handles: a call never gets one that is not there ---- */

%define HANDLE(noun)
ADDRESS(speft_##noun *)
ADDRESS(const speft_##noun *)
%typemap(check) speft_##noun *, const speft_##noun * {
    if (!$1) {
        throw_null_handle(jenv, #noun);
        return $null;
    }
}
%typemap(in, numinputs=0) speft_##noun **noun (speft_##noun *handle = NULL) "$1 = &handle;"
%typemap(argout) speft_##noun **noun "$result = (jlong)(intptr_t)*$1;"
%enddef

HANDLE(context)
HANDLE(adapter)
HANDLE(basis)

/* The one that may be missing, in speft_bind_basis; where it may not, the library itself says so. */
%typemap(check) speft_basis *basis ""

/* ---- status and error ---- */

%typemap(jni) speft_status "jlong"
%typemap(jtype) speft_status "long"
%typemap(jstype) speft_status "long"
%typemap(javaout) speft_status { return $jnicall; }
%typemap(out) speft_status "(void)$1; $result = 0;"
%typemap(in, numinputs=0) speft_error **error (speft_error *error = NULL) "$1 = &error;"
%typemap(argout) speft_error **error "throw_failure(jenv, *$1);"
%typemap(freearg) speft_error **error "speft_destroy_error(*$1);"
%ignore speft_destroy_error;
%ignore speft_get_error_status;
%ignore speft_get_error_message;
%ignore speft_get_error_backend;
%ignore speft_get_error_native_code;
/* As a parameter it is a plain number. */
%typemap(jni) speft_status status "jint"
%typemap(jtype) speft_status status "int"
%typemap(jstype) speft_status status "int"
%typemap(javain) speft_status status "$javainput"
%typemap(in) speft_status status "$1 = $input;"

/* ---- plain results ---- */

%typemap(in, numinputs=0) int64_t *count (int64_t count = 0) "$1 = &count;"
%typemap(argout) int64_t *count "$result = (jlong)*$1;"
%typemap(in, numinputs=0) const char **name (const char *name = NULL) "$1 = ($1_ltype)&name;"
%typemap(argout) const char **name "$result = (jlong)(intptr_t)*$1;"

/* A double comes back in an array of one. */
%define DOUBLE_RESULT(argument)
%typemap(jni) double *argument "jdoubleArray"
%typemap(jtype) double *argument "double[]"
%typemap(jstype) double *argument "double[]"
%typemap(javain) double *argument "$javainput"
%typemap(in) double *argument (double value = 0) "$1 = &value;"
%typemap(argout) double *argument {
    if (!(*jenv)->ExceptionCheck(jenv)) (*jenv)->SetDoubleArrayRegion(jenv, $input, 0, 1, $1);
}
%typemap(freearg) double *argument ""
%enddef
DOUBLE_RESULT(norm)
DOUBLE_RESULT(share)

/* ---- numbers: Java has no unsigned long, its long holds the same bits ---- */

%apply long long { uint64_t };

/* ---- callbacks: a struct is aimed at a Java object instead, which lives until its reference is deleted ---- */

%ignore speft_progress::user;
%ignore speft_progress::report;
%ignore speft_writer::user;
%ignore speft_writer::write;
%ignore speft_score_function::user;
%ignore speft_score_function::compute;
%ignore speft_logger::user;
%ignore speft_logger::log;
%ignore speft_logger::release;
%ignore speft_parallel_for::user;
%ignore speft_parallel_for::run;
%ignore speft_parallel_for::release;
%ignore speft_allocator::user;
%ignore speft_allocator::allocate;
%ignore speft_allocator::deallocate;
%ignore speft_allocator::release;
%ignore speft_communicator::user;
%ignore speft_communicator::all_reduce;
%ignore speft_communicator::all_gather;
%ignore speft_communicator::broadcast;
%ignore speft_communicator::release;

%include "speft.i"

%define AIM(struct, statements)
%extend struct {
    void aim(void *reference) {
        self->user = reference;
        statements
    }
}
%enddef
AIM(speft_progress, self->report = report_progress;)
AIM(speft_writer, self->write = write_bytes;)
AIM(speft_score_function, self->compute = compute_scores;)
AIM(speft_logger, self->log = write_log; self->release = drop_reference;)
AIM(speft_parallel_for, self->run = run_on_executor; self->release = drop_reference;)
AIM(speft_allocator, self->allocate = allocate_memory; self->deallocate = free_memory; self->release = drop_reference;)

/* All of a view in one call: a gradient has up to three of them, once a layer and batch. */
%extend speft_tensor {
    void fill(void *data, int32_t code, int32_t bits, int32_t ndim, int64_t *shape, int64_t *strides) {
        self->data = data;
        self->device.type = SPEFT_DEVICE_CPU;
        self->device.id = 0;
        self->ndim = ndim;
        self->dtype.code = (uint8_t)code;
        self->dtype.bits = (uint8_t)bits;
        self->dtype.lanes = 1;
        self->shape = shape;
        self->strides = strides;
        self->byte_offset = 0;
    }
}

/* The share alone: no adapter is made. */
%inline %{
static speft_status measure_ordinary_share(speft_adapter *adapter, double density, double *share, speft_error **error) {
    return speft_leave_bases(adapter, density, NULL, share, error);
}
%}

/* ---- what Java needs beside it ---- */

%typemap(jni) jobject "jobject"
%typemap(jtype) jobject "Object"
%typemap(jstype) jobject "Object"
%typemap(javain) jobject "$javainput"
%typemap(javaout) jobject { return $jnicall; }
%typemap(in) jobject "$1 = $input;"
%typemap(out) jobject "$result = $1;"
%typemap(in, numinputs=0) JNIEnv *jenv "$1 = jenv;"

/* Zeroed; throws OutOfMemoryError. */
void *allocate_zeroed(JNIEnv *jenv, int64_t bytes);
void free_zeroed(void *memory);
/* A direct buffer over memory that something else keeps; and the address of a direct buffer's first element. */
jobject view_memory(JNIEnv *jenv, void *memory, int64_t bytes);
int64_t address_of(JNIEnv *jenv, jobject buffer);
/* The bytes of a string; NULL for NULL. */
%typemap(jni) jbyteArray "jbyteArray"
%typemap(jtype) jbyteArray "byte[]"
%typemap(jstype) jbyteArray "byte[]"
%typemap(javaout) jbyteArray { return $jnicall; }
%typemap(out) jbyteArray "$result = $1;"
jbyteArray read_string(JNIEnv *jenv, void *text);
/* Keeps an object until its reference is deleted. */
void *keep_reference(JNIEnv *jenv, jobject object);
%rename(delete_reference) drop_reference;
void drop_reference(void *reference);
/* One body of a loop that run_on_executor has handed to Java. */
void run_body(void *body, void *argument, int64_t index);
