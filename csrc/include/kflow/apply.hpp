#pragma once

#include "kflow/matrix_view.hpp"
#include "kflow/profile.hpp"

namespace kflow {

/// out = base + step K(x, z) c, with x (n, d), z (m, d), c (m, q), out (n, q). `base` is (n, q), or
/// a null view for zero. Tiles of rows are finished one by one and K(x, z) never exists as a whole.
/// `out` may be `x` or `base` itself, or their first columns (the flow moves points in place); it
/// may not overlap `z` or `c`, and may not overlap `x` or `base` in any other way. Cost 2 n m (d +
/// q) flops and n m profiles; the result does not depend on n_threads.
template <class T>
void apply(MatrixView<const T> x, MatrixView<const T> z, MatrixView<const T> c,
           const Profile& profile, double step, MatrixView<const T> base, MatrixView<T> out,
           int n_threads);

}  // namespace kflow
