#pragma once

#include "kflow/matrix_view.hpp"
#include "kflow/profile.hpp"

namespace kflow {

// The derivative of x -> K(x, z) c with respect to x, with k a function of r^2, x (n, d), z (m, d),
// c (m, q). Both ways cost 2 n m (2 d + q) flops and n m profiles; no n x m matrix exists. Results
// do not depend on n_threads. `base` is of the shape of out, or a null view for zero; `out` may be
// `base` itself and overlaps nothing else.

/// out = base + J t for a direction t (n, d) of each point: row i is
/// sum_j 2 k'(|x_i - z_j|^2) ((x_i - z_j).t_i) c_j, (n, q).
template <class T>
void push_forward(MatrixView<const T> x, MatrixView<const T> z, MatrixView<const T> c,
                  const Profile& profile, MatrixView<const T> t, MatrixView<const T> base,
                  MatrixView<T> out, int n_threads);

/// out = base + J' a for a vector a (n, q) of each point: row i is
/// sum_j 2 k'(|x_i - z_j|^2) (a_i.c_j) (x_i - z_j), (n, d). `a` may be the first columns of `out`.
template <class T>
void pull_back(MatrixView<const T> x, MatrixView<const T> z, MatrixView<const T> c,
               const Profile& profile, MatrixView<const T> a, MatrixView<const T> base,
               MatrixView<T> out, int n_threads);

}  // namespace kflow
