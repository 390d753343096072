#pragma once

// A symmetric matrix that somebody else owns, row by row: its blocks' factors, products with its
// blocks, and its making from two thin factors.

#include <vector>

#include "core/cholesky.hpp"
#include "kflow/matrix_view.hpp"

namespace kflow::detail {

using Rows = std::vector<Index>;

/// 0, 1, ..., n - 1
Rows all_rows(Index n);

/// The rows of y (n, m), one after the other.
std::vector<double> rows_of(MatrixView<const double> y, const Rows& rows);

/// u = the factor of A[rows, rows]. Throws NotPositiveDefinite, with two of the rows if they are
/// the same but for rounding errors.
void factor_block(MatrixView<const double> a, const Rows& rows, Cholesky& u, int n_threads);

/// out (columns, m) = A[rows, columns]' b for b (rows, m). Cost 2 m flops for each entry of the
/// block.
void multiply_block(MatrixView<const double> a, const Rows& rows, const Rows& columns,
                    MatrixView<const double> b, MatrixView<double> out, int n_threads);

/// A symmetric matrix left right' (n, n), by factors (n, rank) that are zero at first.
class ThinFactors {
   public:
    ThinFactors(Index n, Index rank)
        : n_(n), rank_(rank), left_(static_cast<std::size_t>(n * rank)), right_(left_) {}

    Index rank() const { return rank_; }
    MatrixView<double> left() { return {left_.data(), n_, rank_}; }
    MatrixView<double> right() { return {right_.data(), n_, rank_}; }

    /// out = left right'. Cost n^2 rank flops: the upper triangle is a copy of the lower one.
    void multiply(MatrixView<double> out, int n_threads) const { multiply(false, out, n_threads); }

    /// Adds to out, of which the lower triangle is read.
    void add_to(MatrixView<double> out, int n_threads) const { multiply(true, out, n_threads); }

   private:
    void multiply(bool add, MatrixView<double> out, int n_threads) const;

    Index n_, rank_;
    std::vector<double> left_, right_;
};

}  // namespace kflow::detail
