#pragma once

#include <vector>

#include "kflow/matrix_view.hpp"
#include "kflow/profile.hpp"

namespace kflow {

/// What a layer of a flow does to any point: the first q of its k coordinates move by
/// step K(x, z) c, with centres z (m, k) and coefficients c (m, q).
template <class T>
struct Layer {
    MatrixView<const T> z;
    MatrixView<const T> c;
    double step = 0.0;
};

/// Moves points (n, k) through layers, one after the other, in place. A tile of rows goes through
/// several layers before it leaves the cache. The arithmetic is that of flow_layer(): positions are
/// those of points that the flow carried, to the last bit; they depend neither on n_threads nor on
/// which other points there are. Cost of each layer 2 n m (k + q) flops and n m profiles.
template <class T>
void replay(MatrixView<T> points, const std::vector<Layer<T>>& layers, const Profile& profile,
            int n_threads);

}  // namespace kflow
