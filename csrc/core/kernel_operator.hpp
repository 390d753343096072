#pragma once

#include <vector>

#include "core/row_groups.hpp"
#include "core/simd_table.hpp"
#include "kflow/matrix_view.hpp"
#include "kflow/profile.hpp"

namespace kflow::detail {

/// Up to this dimension summing squared differences costs no more than a product.
constexpr Index kDirectDimension = 6;

/// The map x -> K(x, z) c for fixed centres z (m, d) and coefficients c (m, q), prepared once and
/// applied tile by tile from many threads.
///
/// In low dimension distances are sums of squared differences, and with d = q <= kFusedDimension
/// profile and accumulation follow in registers. Otherwise r^2 = |x|^2 + |z|^2 - 2 x.z, on points
/// translated to the centres' mean: that changes no distance and keeps the digits of data that lie
/// far from the origin. Cancellation then leaves an error of r^2 of about eps (|x|^2 + |z|^2).
/// Where that matters, close pairs are summed directly: for points that lie many length scales
/// apart, and for profiles that are steep at 0, such as the Laplacian.
template <class T>
class KernelOperator {
   public:
    /// `c` may be a null view when only gram() is wanted.
    void prepare(MatrixView<const T> z, MatrixView<const T> c, const Profile& profile);

    /// Rows that one call should be given when there are n in all: a tile that stays in the
    /// second-level cache, and whose shape does not depend on the number of threads.
    Index tile_rows(Index n) const;

    /// Elements of scratch that apply() and gram() need for so many rows.
    Index scratch(Index rows) const;

    /// Elements of scratch that panels() needs for so many rows.
    Index panels_scratch(Index rows) const;

    /// out (rows, q) = K(x, z) c; x (rows, d) and out may be the same memory.
    void apply(MatrixView<const T> x, MatrixView<T> out, T* scratch) const;

    /// out (rows, m) = K(x, z)
    void gram(MatrixView<const T> x, MatrixView<T> out, T* scratch) const;

    /// out[p] (m, panel) = K(z, x), as panels of the points x (rows, d), with anything in lanes
    /// beyond the last. Scratch of panels_scratch() elements.
    void panels(MatrixView<const T> x, T* out, T* scratch) const;

   private:
    Profile profile_;
    bool fused_ = false;
    Index m_ = 0, d_ = 0, q_ = 0;
    RowGroups<T> z_, c_;      // centred z, transposed c
    std::vector<T> z_and_c_;  // (m, 2 d), when fused
    std::vector<T> shift_;    // (d)
    std::vector<T> norms_;    // |z_j|^2
    Centres<T> centres_{};
};

}  // namespace kflow::detail
