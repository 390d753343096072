#pragma once

#include "core/aligned.hpp"
#include "kflow/matrix_view.hpp"

namespace kflow::detail {

/// A symmetric positive definite matrix in panels (see simd/triangular.inl), then its factor
/// A = U' U. Right-hand sides are panels of columns as well: panel p of b (n, q) holds columns
/// [p panel, (p + 1) panel) of all n rows, row after row.
class Cholesky {
   public:
    /// n rows and columns, all zero.
    void resize(Index n);

    /// Columns [p panel, (p + 1) panel) of A.
    double* panel(Index p) { return data_.data() + p * n_ * width_; }
    const double* panel(Index p) const { return data_.data() + p * n_ * width_; }

    /// The upper triangle of A, and later U.
    double& operator()(Index i, Index j) { return panel(j / width_)[i * width_ + j % width_]; }
    double operator()(Index i, Index j) const { return panel(j / width_)[i * width_ + j % width_]; }

    /// The columns of one panel, the number of panels of q columns, and their elements.
    Index width() const { return width_; }
    Index panels_of(Index q) const { return (q + width_ - 1) / width_; }
    Index elements_of(Index q) const { return panels_of(q) * n_ * width_; }

    /// False when a pivot is not positive, or a rounding error of its diagonal entry: a factor
    /// exists then, but none of its digits is right. Cost n^3/3 flops.
    bool factor(int n_threads);

    /// b <- U'^-1 b, for panels of b. Cost n^2 flops for each column.
    void forward(double* b, Index n_panels) const;

    /// b <- U^-1 b with the leading block of U and the leading rows of b.
    void backward(double* b, Index n_panels, Index leading) const;

    /// b (n, q) <- A^-1 b; `panels` is memory for panels of b. Cost 2 n^2 q.
    void solve(MatrixView<double> b, AlignedVector<double>& panels, int n_threads) const;

    /// diagonal (n) of A^-1 and, unless null, `inverse`: panels of its columns, bitwise symmetric.
    /// Cost n^3/3 and 2 n^3/3 flops.
    void invert(double* diagonal, double* inverse, int n_threads) const;

   private:
    bool eliminate_all(int n_threads);

    Index n_ = 0, width_ = 1;
    AlignedVector<double> data_;
};

/// Copies the rows of a (n, q) into panels of its columns, zero beyond the last, and back.
void to_panels(MatrixView<const double> a, Index width, double* panels);
void from_panels(const double* panels, Index width, MatrixView<double> a);

}  // namespace kflow::detail
