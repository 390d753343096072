# cython: boundscheck=False, wraparound=False
"""Kernel matrices of points, by calls of the engine from C, without the interpreter's lock."""

from kflow.c_api cimport (
    KFLOW_GAUSSIAN, KFLOW_OK, kflow_api, kflow_error, kflow_import, kflow_profile
)

cdef const kflow_api *engine = kflow_import()


cdef double trace_of_squares(
    const double[:, ::1] X, double length_scale, double[:, ::1] K, kflow_error *error
) except -1.0 nogil:
    """|K(X, X)|^2, the sum of squares."""
    cdef kflow_profile profile
    cdef Py_ssize_t i, j, n = X.shape[0]
    cdef double total = 0.0
    profile.family, profile.length_scale = KFLOW_GAUSSIAN, length_scale
    if engine.gram_f64(
        &profile, &X[0, 0], n, &X[0, 0], n, X.shape[1], &K[0, 0], 1, error
    ) != KFLOW_OK:
        with gil:
            raise ValueError(error.message.decode())
    for i in range(n):
        for j in range(n):
            total += K[i, j] * K[i, j]
    return total


def gram(const double[:, ::1] X, double length_scale, double[:, ::1] out):
    """Write K(X, X) to `out`."""
    cdef kflow_error error
    with nogil:
        trace_of_squares(X, length_scale, out, &error)


def squares_of_sets(const double[:, :, ::1] sets, double length_scale, double[:, ::1] K):
    """Return the sum of |K(X, X)|^2 over many small sets of points, one call of the engine for each."""
    cdef kflow_error error
    cdef double total = 0.0
    cdef Py_ssize_t i
    with nogil:
        for i in range(sets.shape[0]):
            total += trace_of_squares(sets[i], length_scale, K, &error)
    return total
