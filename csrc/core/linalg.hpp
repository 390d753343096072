#pragma once

// Row-major matrix algebra on one thread: LAPACK where a table is installed, the engine's own loops
// otherwise.

#include "kflow/matrix_view.hpp"

namespace kflow::detail {

/// c = a b, or c = a b' where b is given transposed, by BLAS, which must be there.
/// a (n, k), b (k, m) or (m, k), c (n, m)
template <class T>
void blas_gemm(bool b_transposed, MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c);

/// a (n, n): the lower triangle becomes L with a = L L'; the upper one is not read or written.
/// False when a pivot is not positive.
bool cholesky(MatrixView<double> a);

/// b <- L^-1 b, b (n, q)
void solve_lower(MatrixView<const double> l, MatrixView<double> b);

/// b <- L'^-1 b
void solve_lower_transposed(MatrixView<const double> l, MatrixView<double> b);

}  // namespace kflow::detail
