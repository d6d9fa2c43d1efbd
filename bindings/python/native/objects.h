/* How the C API's own objects look from Python: handles, errors, callbacks. */
#pragma once

#include <Python.h>
#include <errno.h>
#include <string.h>

#include "speft/speft.h"

/* ---- handles ----
 * A handle is a capsule that destroys it when the last reference goes: a call that is running holds one, so that
 * closing an adapter on one thread never pulls it from under another. The capsule's context is what it needs until
 * then: the host's memory that an adapter is bound to. */

#define DEFINE_HANDLE(noun)                                                              \
    static void release_##noun(PyObject *capsule) {                                      \
        PyObject *needed = PyCapsule_GetContext(capsule);                                \
        speft_destroy_##noun(PyCapsule_GetPointer(capsule, "speft_" #noun));             \
        Py_XDECREF(needed);                                                              \
    }                                                                                    \
    static PyObject *wrap_##noun(speft_##noun *handle) {                                 \
        if (!handle) Py_RETURN_NONE;                                                     \
        PyObject *capsule = PyCapsule_New(handle, "speft_" #noun, release_##noun);       \
        if (!capsule) speft_destroy_##noun(handle);                                      \
        return capsule;                                                                  \
    }

DEFINE_HANDLE(context)
DEFINE_HANDLE(adapter)
DEFINE_HANDLE(basis)

/* The addresses in a tuple or a list of capsules, which keeps them alive, to be freed with PyMem_Free; NULL with an
 * exception set. */
static speft_adapter **read_adapters(PyObject *capsules) {
    const Py_ssize_t count = PySequence_Size(capsules);
    if (count < 0) return NULL;
    speft_adapter **addresses = PyMem_Calloc((size_t)(count > 0 ? count : 1), sizeof *addresses);
    if (!addresses) PyErr_NoMemory();
    for (Py_ssize_t at = 0; addresses && at < count; ++at) {
        PyObject *capsule = PySequence_GetItem(capsules, at);
        addresses[at] = capsule ? PyCapsule_GetPointer(capsule, "speft_adapter") : NULL;
        Py_XDECREF(capsule);
        if (addresses[at]) continue;
        PyMem_Free(addresses);
        addresses = NULL;
    }
    return addresses;
}

/* Keeps `needed` alive as long as the handle in `capsule`; once a handle. */
static void tie(PyObject *capsule, PyObject *needed) {
    if (PyCapsule_SetContext(capsule, needed) == 0) Py_INCREF(needed);
}

/* ---- failures ----
 * None, or (status, message, backend, native code). */

static PyObject *describe_failure(const speft_error *error) {
    if (!error) Py_RETURN_NONE;
    const char *message = speft_get_error_message(error);
    PyObject *text = PyUnicode_DecodeUTF8(message, (Py_ssize_t)strlen(message), "replace");
    if (!text) return NULL;
    return Py_BuildValue("(iNsL)", (int)speft_get_error_status(error), text, speft_get_error_backend(error),
                         (long long)speft_get_error_native_code(error));
}

/* ---- callbacks ----
 * `user` is the Python callable: borrowed during a call, or held from keep_reference to drop_reference. */

static void keep_reference(PyObject *object) { Py_INCREF(object); }

/* From any thread, and perhaps after the interpreter is gone. */
static void drop_reference(void *object) {
    if (!Py_IsInitialized()) return;
    const PyGILState_STATE state = PyGILState_Ensure();
    Py_DECREF((PyObject *)object);
    PyGILState_Release(state);
}

static int32_t report_progress(void *user, int64_t done, int64_t total) {
    const PyGILState_STATE state = PyGILState_Ensure();
    PyObject *answer = PyObject_CallFunction((PyObject *)user, "LL", (long long)done, (long long)total);
    /* An exception stays set: the wrapper of the cancelled call finds it, and it comes out there. */
    const int32_t cancel = answer ? PyObject_IsTrue(answer) != 0 : 1;
    Py_XDECREF(answer);
    PyGILState_Release(state);
    return cancel;
}

/* The next bytes of a file, as a copy that the callable may keep. */
static int32_t write_bytes(void *user, const void *bytes, uint64_t count) {
    const PyGILState_STATE state = PyGILState_Ensure();
    PyObject *piece = PyBytes_FromStringAndSize(bytes, (Py_ssize_t)count);
    PyObject *answer = piece ? PyObject_CallFunctionObjArgs((PyObject *)user, piece, NULL) : NULL;
    /* An exception stays set: it comes out of the wrapper in place of this error. */
    const int32_t code = answer ? 0 : EIO;
    Py_XDECREF(answer);
    Py_XDECREF(piece);
    PyGILState_Release(state);
    return code;
}

static void write_log(void *user, int32_t level, const char *message) {
    const PyGILState_STATE state = PyGILState_Ensure();
    PyObject *answer = PyObject_CallFunction((PyObject *)user, "is", (int)level, message);
    if (!answer) PyErr_WriteUnraisable((PyObject *)user);
    Py_XDECREF(answer);
    PyGILState_Release(state);
}

/* ---- memory of the host's own ---- */

/* The address that `user.allocate` returns; None is none. */
static void *allocate_memory(void *user, uint64_t bytes, uint64_t alignment, void *stream) {
    const PyGILState_STATE state = PyGILState_Ensure();
    PyObject *answer = PyObject_CallMethod((PyObject *)user, "allocate", "KKK", (unsigned long long)bytes,
                                           (unsigned long long)alignment, (unsigned long long)(uintptr_t)stream);
    /* An exception stays set: it comes out of the wrapper in place of the library's own. */
    void *memory = answer && answer != Py_None ? PyLong_AsVoidPtr(answer) : NULL;
    Py_XDECREF(answer);
    PyGILState_Release(state);
    return memory;
}

/* From any thread, and perhaps after the interpreter is gone, whose memory goes with the process. */
static void deallocate_memory(void *user, void *memory, uint64_t bytes, void *stream) {
    if (!Py_IsInitialized()) return;
    const PyGILState_STATE state = PyGILState_Ensure();
    PyObject *type, *value, *traceback; /* those of an allocation that has failed */
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *answer = PyObject_CallMethod((PyObject *)user, "deallocate", "KKK", (unsigned long long)(uintptr_t)memory,
                                           (unsigned long long)bytes, (unsigned long long)(uintptr_t)stream);
    if (!answer) PyErr_WriteUnraisable((PyObject *)user);
    Py_XDECREF(answer);
    PyErr_Restore(type, value, traceback);
    PyGILState_Release(state);
}
