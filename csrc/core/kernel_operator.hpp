#pragma once

#include <vector>

#include "core/right_factor.hpp"
#include "core/simd_table.hpp"
#include "kflow/kernel.hpp"
#include "kflow/matrix_view.hpp"

namespace kflow::detail {

/// Up to this dimension summing differences beats a gemm with its short inner loops.
constexpr Index kDirectDimension = 6;

/// The map x -> K(x, z) c for fixed centres z (m, d) and coefficients c (m, q), prepared once and
/// applied tile by tile from many threads.
///
/// In low dimension distances are summed directly, and profile and accumulation follow in
/// registers. Otherwise r^2 = |x|^2 + |z|^2 - 2 x.z by gemm, on points translated to the centres'
/// mean: that changes no distance and keeps the digits of data that lie far from the origin.
/// Cancellation then leaves an error of r^2 of about eps (|x|^2 + |z|^2). Where that matters, close
/// pairs are summed directly: for points that lie many length scales apart, and for the Laplacian,
/// whose profile is not smooth in r^2.
template <class T>
class KernelOperator {
   public:
    /// `c` may be a null view when only gram() is wanted. It must outlive the use.
    void prepare(MatrixView<const T> z, MatrixView<const T> c, const Kernel& kernel);

    /// Rows that one call of apply() should be given: a tile that stays in the second-level cache.
    Index tile_rows() const;

    /// Elements of scratch that apply() and gram() need for so many rows.
    Index apply_scratch(Index rows) const { return gram_scratch(rows) + (direct_ ? 0 : rows * m_); }
    Index gram_scratch(Index rows) const { return direct_ ? padded(m_) : rows * (d_ + 1); }

    /// out (rows, q) = K(x, z) c; x (rows, d) and out may be the same memory.
    void apply(MatrixView<const T> x, MatrixView<T> out, T* scratch) const;

    /// out (rows, m) = K(x, z)
    void gram(MatrixView<const T> x, MatrixView<T> out, T* scratch) const;

   private:
    void tile_by_gemm(MatrixView<const T> x, MatrixView<T> k, T* scratch) const;
    bool cancellation_matters(T x_norm) const;
    void sum_close_pairs_directly(const T* x, T x_norm, T* r2) const;

    Kernel kernel_;
    bool direct_ = false;
    Index m_ = 0, d_ = 0, q_ = 0;
    std::vector<T> z_;         // (m, d) centred, for the gemm
    std::vector<T> zt_;        // (d, padded m), for the direct sums
    std::vector<T> ct_;        // (q, padded m), for the direct sums
    RightFactor<T> z_factor_;  // z_ transposed
    RightFactor<T> c_factor_;  // c
    std::vector<T> shift_;     // (d)
    std::vector<T> norms_;     // |z_j|^2
    T largest_norm_ = 0;       // of norms_
};

}  // namespace kflow::detail
