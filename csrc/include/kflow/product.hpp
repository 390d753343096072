#pragma once

#include "kflow/matrix_view.hpp"

namespace kflow {

/// out (n, q) = x (n, d) a (d, q). A row of the result depends on that row of x alone, to the last
/// bit, and not on n or n_threads, which no BLAS promises. Cost 2 n d q flops.
template <class T>
void product(MatrixView<const T> x, MatrixView<const T> a, MatrixView<T> out, int n_threads);

}  // namespace kflow
