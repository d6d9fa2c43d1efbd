/* Python's typemaps over the C API. The result is `speft._capi` over `speft._native`, which only the hand-written
 * package uses: plain functions and structs, no policy.
 *
 * A fallible function returns a list: None or the failure, then its results. A struct borrows what is assigned to its
 * pointers (strings, arrays, tensors, other structs): whoever fills it in keeps those alive. */
%module(package="speft") _capi

%{
#include "bindings/python/native/dlpack.h"
#include "bindings/python/native/objects.h"
#include "bindings/python/native/openmp.h"
#include "bindings/python/native/scores.h"
%}

/* A callback may have left an exception. */
%exception {
    $action
    if (PyErr_Occurred()) SWIG_fail;
}

/* ---- status and error ----
 * Whoever asks for the error object needs no status beside it. */

%typemap(out) speft_status {
    (void)$1;
    $result = PyList_New(0);
    if (!$result) SWIG_fail;
}
%typemap(in, numinputs=0) speft_error **error (speft_error *error = NULL) "$1 = &error;"
%typemap(argout) speft_error **error {
    PyObject *failure = describe_failure(*$1);
    if (!failure || PyList_Insert($result, 0, failure) != 0) SWIG_fail;
    Py_DECREF(failure);
}
%typemap(freearg) speft_error **error "speft_destroy_error(*$1);"
%ignore speft_destroy_error;
%ignore speft_get_error_status;
%ignore speft_get_error_message;
%ignore speft_get_error_backend;
%ignore speft_get_error_native_code;

%define APPEND_RESULT(object)
    PyObject *value = object;
    if (!value || PyList_Append($result, value) != 0) SWIG_fail;
    Py_DECREF(value);
%enddef

/* ---- handles ---- */

%define HANDLE(noun)
%ignore speft_destroy_##noun;
%typemap(in) speft_##noun *, const speft_##noun * {
    $1 = $input == Py_None ? NULL : PyCapsule_GetPointer($input, "speft_" #noun);
    if (PyErr_Occurred()) SWIG_fail;
}
%typemap(in, numinputs=0) speft_##noun **noun (speft_##noun *handle = NULL) "$1 = &handle;"
%typemap(argout) speft_##noun **noun {
    APPEND_RESULT(wrap_##noun(*$1))
}
%enddef

HANDLE(context)
HANDLE(adapter)
HANDLE(basis)

/* Several are a tuple or a list, which keeps them alive; the array of addresses is this call's. */
%typemap(in) speft_adapter *const *adapters (speft_adapter **addresses = NULL) {
    addresses = read_adapters($input);
    if (!addresses) SWIG_fail;
    $1 = addresses;
}
%typemap(freearg) speft_adapter *const *adapters "PyMem_Free(addresses$argnum);"

/* ---- plain results ---- */

%typemap(in, numinputs=0) int64_t *count (int64_t count = 0) "$1 = &count;"
%typemap(argout) int64_t *count {
    APPEND_RESULT(PyLong_FromLongLong(*$1))
}
%typemap(in, numinputs=0) double *norm (double norm = 0) "$1 = &norm;"
%typemap(argout) double *norm {
    APPEND_RESULT(PyFloat_FromDouble(*$1))
}
%apply double *norm { double *share };
%typemap(in, numinputs=0) const char **name (const char *name = NULL) "$1 = ($1_ltype)&name;"
%typemap(argout) const char **name {
    APPEND_RESULT(SWIG_FromCharPtr(*$1))
}

/* ---- tensors ---- */

/* A view comes in as a DLPack capsule, or as one that the library has lent. */
%typemap(in) const speft_tensor * {
    void *view = NULL;
    if ($input != Py_None && !SWIG_IsOK(SWIG_ConvertPtr($input, &view, $1_descriptor, 0))) {
        view = dlpack_view($input);
        if (!view) SWIG_fail;
    }
    $1 = view;
}
%define LENT(argument)
%typemap(in, numinputs=0) speft_tensor *argument "$1 = calloc(1, sizeof *$1);"
%typemap(argout) speft_tensor *argument {
    APPEND_RESULT(SWIG_NewPointerObj($1, $1_descriptor, SWIG_POINTER_OWN))
    $1 = NULL;
}
%typemap(freearg) speft_tensor *argument "free($1);"
%enddef
LENT(gradient)
LENT(deltas)
LENT(u)
LENT(v)

/* ---- what structs borrow ---- */

%typemap(in) const char * {
    Py_ssize_t size = 0;
    if ($input != Py_None) {
        $1 = (char *)PyUnicode_AsUTF8AndSize($input, &size);
        if (!$1) SWIG_fail;
        if (strlen($1) != (size_t)size) {
            PyErr_SetString(PyExc_ValueError, "embedded null character");
            SWIG_fail;
        }
    } else {
        $1 = NULL;
    }
}
%typemap(freearg) const char * ""
%typemap(memberin) const char * "$1 = $input;"

/* Arrays, of numbers and of addresses, are contiguous buffers: `array.array`. */
%define BUFFER(type)
%typemap(in) type {
    $1 = NULL;
    if ($input != Py_None) {
        Py_buffer buffer;
        if (PyObject_GetBuffer($input, &buffer, PyBUF_SIMPLE) != 0) SWIG_fail;
        $1 = buffer.buf;
        PyBuffer_Release(&buffer);
    }
}
%enddef
BUFFER(const int64_t *shape)
BUFFER(int64_t *shape)
BUFFER(const int64_t *offset)
BUFFER(const int64_t *extent)
BUFFER(void *data)
BUFFER(const void *bytes)
BUFFER(const speft_parameter *const *)
BUFFER(const speft_hyperparameters *const *)
BUFFER(const speft_basis_options *const *)

/* As many as there are adapters. */
%typemap(in) (const int64_t *parameters, int64_t count) {
    Py_buffer buffer;
    if (PyObject_GetBuffer($input, &buffer, PyBUF_SIMPLE) != 0) SWIG_fail;
    $1 = buffer.buf;
    $2 = buffer.len / (Py_ssize_t)sizeof *$1;
    PyBuffer_Release(&buffer);
}

%typemap(out) int64_t *shape, const int64_t *shape {
    $result = PyTuple_New(arg1->ndim);
    for (int32_t axis = 0; $result && axis < arg1->ndim; ++axis)
        PyTuple_SetItem($result, axis, PyLong_FromLongLong($1[axis]));
}

%typemap(in) void *stream {
    $1 = $input == Py_None ? NULL : PyLong_AsVoidPtr($input);
    if (PyErr_Occurred()) SWIG_fail;
}
%typemap(in) void *user "$1 = $input;"

%include "speft.i"

/* ---- what Python needs beside it ---- */

%callback("%s");
int32_t report_progress(void *user, int64_t done, int64_t total);
int32_t write_bytes(void *user, const void *bytes, uint64_t count);
void write_log(void *user, int32_t level, const char *message);
int32_t compute_scores(void *user, int64_t parameter, const speft_tensor *weights, const speft_tensor *gradient,
                       const speft_tensor *scores);
void *allocate_memory(void *user, uint64_t bytes, uint64_t alignment, void *stream);
void deallocate_memory(void *user, void *memory, uint64_t bytes, void *stream);
void drop_reference(void *object);
void run_on_openmp(void *user, int64_t count, void (*body)(void *argument, int64_t index), void *argument);
%nocallback;

%nothread;

int has_openmp(void);
void tie(PyObject *capsule, PyObject *needed);
void keep_reference(PyObject *object);

%rename(get_tensor_flags) dlpack_flags;
int64_t dlpack_flags(PyObject *capsule);

%rename(lend_tensor) dlpack_lend;
PyObject *dlpack_lend(const speft_tensor *tensor, PyObject *owner, int read_only, int versioned);

/* The view in a capsule, to be looked at or, while the capsule is not consumed, to be given another element type. */
%rename(view_tensor) dlpack_view;
speft_tensor *dlpack_view(PyObject *capsule);
