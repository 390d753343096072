#pragma once

#include "kflow/matrix_view.hpp"
#include "kflow/profile.hpp"

namespace kflow {

/// out(i, j) = k(|x_i - z_j|), x (n, d), z (m, d), out (n, m); `out` overlaps neither input.
/// Cost 2 n m d flops and n m profiles. Rows are independent, so that the result does not depend
/// on n_threads. When z is the same view as x the diagonal is exactly one.
template <class T>
void gram(MatrixView<const T> x, MatrixView<const T> z, const Profile& profile, MatrixView<T> out,
          int n_threads);

/// t[j] <- k(t[j]) for n numbers, on the calling thread.
template <class T>
void evaluate_profile(const Profile& profile, T* t, Index n);

}  // namespace kflow
