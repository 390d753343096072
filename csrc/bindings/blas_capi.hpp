#pragma once

#include <pybind11/pybind11.h>

namespace kflow::python {

/// Takes BLAS and LAPACK from the __pyx_capi__ dictionaries of scipy.linalg.cython_blas and
/// scipy.linalg.cython_lapack. False, and the engine's own routines, when a signature is not the
/// 32-bit-integer one that the core calls.
bool install_blas(const pybind11::dict& blas_capi, const pybind11::dict& lapack_capi);

}  // namespace kflow::python
