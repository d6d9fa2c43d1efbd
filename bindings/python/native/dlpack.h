/* DLPack capsules as Python's array libraries exchange them: reading those of a producer, and making our own.
 *
 * A capsule that is read is not consumed: it keeps its name, and stays the owner of the producer's reference. Whoever
 * needs the memory keeps the capsule, and lets go of it in the ordinary way. */
#pragma once

#include <Python.h>
#include <stdlib.h>

#include "bindings/python/native/objects.h"
#include "speft/tensor.h"

typedef struct dlpack_managed {
    speft_tensor tensor;
    void *owner;
    void (*release)(struct dlpack_managed *self);
} dlpack_managed;

typedef struct dlpack_versioned {
    uint32_t major;
    uint32_t minor;
    void *owner;
    void (*release)(struct dlpack_versioned *self);
    uint64_t flags;
    speft_tensor tensor;
} dlpack_versioned;

enum { DLPACK_READ_ONLY = 1, DLPACK_COPIED = 2 };

#define DLPACK_NAME "dltensor"
#define DLPACK_VERSIONED_NAME "dltensor_versioned"

/* ---- a producer's capsule ---- */

/* The view in a capsule; NULL with a Python exception for anything else. */
static speft_tensor *dlpack_view(PyObject *capsule) {
    if (PyCapsule_IsValid(capsule, DLPACK_NAME))
        return &((dlpack_managed *)PyCapsule_GetPointer(capsule, DLPACK_NAME))->tensor;
    if (!PyCapsule_IsValid(capsule, DLPACK_VERSIONED_NAME)) {
        PyErr_SetString(PyExc_TypeError, "expected a DLPack capsule that has not been consumed");
        return NULL;
    }
    dlpack_versioned *managed = PyCapsule_GetPointer(capsule, DLPACK_VERSIONED_NAME);
    if (managed->major != 1) {
        PyErr_Format(PyExc_BufferError, "expected a DLPack capsule of version 1, got version %u", managed->major);
        return NULL;
    }
    return &managed->tensor;
}

/* The flags of a versioned capsule, −1 of one that cannot tell. */
static int64_t dlpack_flags(PyObject *capsule) {
    if (!PyCapsule_IsValid(capsule, DLPACK_VERSIONED_NAME)) return -1;
    return (int64_t)((dlpack_versioned *)PyCapsule_GetPointer(capsule, DLPACK_VERSIONED_NAME))->flags;
}

/* ---- our own ---- */

/* Memory of the library's goes out with a reference to the Python object that keeps it there. */
static void dlpack_release_managed(dlpack_managed *self) {
    drop_reference(self->owner);
    free(self);
}

static void dlpack_release_versioned(dlpack_versioned *self) {
    drop_reference(self->owner);
    free(self);
}

/* Runs for a capsule that nobody has consumed: consumers rename what they take. */
static void dlpack_destroy_capsule(PyObject *capsule) {
    if (PyCapsule_IsValid(capsule, DLPACK_NAME))
        dlpack_release_managed(PyCapsule_GetPointer(capsule, DLPACK_NAME));
    else if (PyCapsule_IsValid(capsule, DLPACK_VERSIONED_NAME))
        dlpack_release_versioned(PyCapsule_GetPointer(capsule, DLPACK_VERSIONED_NAME));
}

/* A copy of a row-major contiguous view whose shape and strides lie in `sizes`, [2 * ndim]. */
static speft_tensor dlpack_copy_view(const speft_tensor *tensor, int64_t *sizes) {
    speft_tensor copy = *tensor;
    copy.shape = sizes;
    copy.strides = sizes + tensor->ndim;
    int64_t stride = 1;
    for (int32_t axis = tensor->ndim - 1; axis >= 0; --axis) {
        copy.shape[axis] = tensor->shape[axis];
        copy.strides[axis] = stride;
        stride *= tensor->shape[axis];
    }
    return copy;
}

/* A capsule over `tensor`'s memory that keeps `owner` alive. */
static PyObject *dlpack_lend(const speft_tensor *tensor, PyObject *owner, int read_only, int versioned) {
    const size_t sizes = 2 * (size_t)tensor->ndim * sizeof(int64_t);
    PyObject *capsule = NULL;
    if (versioned) {
        dlpack_versioned *managed = malloc(sizeof *managed + sizes);
        if (!managed) return PyErr_NoMemory();
        *managed = (dlpack_versioned){1, 0, owner, dlpack_release_versioned, read_only ? DLPACK_READ_ONLY : 0,
                                      dlpack_copy_view(tensor, (int64_t *)(managed + 1))};
        capsule = PyCapsule_New(managed, DLPACK_VERSIONED_NAME, dlpack_destroy_capsule);
        if (!capsule) free(managed);
    } else {
        dlpack_managed *managed = malloc(sizeof *managed + sizes);
        if (!managed) return PyErr_NoMemory();
        *managed = (dlpack_managed){dlpack_copy_view(tensor, (int64_t *)(managed + 1)), owner,
                                    dlpack_release_managed};
        capsule = PyCapsule_New(managed, DLPACK_NAME, dlpack_destroy_capsule);
        if (!capsule) free(managed);
    }
    if (capsule) Py_INCREF(owner);
    return capsule;
}
