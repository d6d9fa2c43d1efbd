/* Scores of the host's own: the library's view of a Python callable. */
#pragma once

#include "bindings/python/native/dlpack.h"
#include "bindings/python/native/objects.h"

/* A capsule over memory that is lent until the callback returns; None for NULL. */
static PyObject *lend_for_now(const speft_tensor *tensor, PyObject *owner, int read_only) {
    if (!tensor) Py_RETURN_NONE;
    return dlpack_lend(tensor, owner, read_only, 1);
}

static int32_t compute_scores(void *user, int64_t parameter, const speft_tensor *weights, const speft_tensor *gradient,
                              const speft_tensor *scores) {
    const PyGILState_STATE state = PyGILState_Ensure();
    PyObject *callable = user, *given[3] = {lend_for_now(weights, callable, 1), NULL, NULL}, *answer = NULL;
    if (given[0]) given[1] = lend_for_now(gradient, callable, 1);
    if (given[1]) given[2] = lend_for_now(scores, callable, 0);
    if (given[2])
        answer = PyObject_CallFunction(callable, "LOOO", (long long)parameter, given[0], given[1], given[2]);
    /* An exception stays set: it comes out of the wrapper of the cancelled selection. */
    const int32_t cancel = answer == NULL;
    for (int i = 0; i < 3; ++i) Py_XDECREF(given[i]);
    Py_XDECREF(answer);
    PyGILState_Release(state);
    return cancel;
}
