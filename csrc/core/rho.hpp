#pragma once

#include <functional>
#include <vector>

#include "core/aligned.hpp"
#include "core/cholesky.hpp"
#include "kflow/matrix_view.hpp"

namespace kflow::detail {

/// rho of a factored matrix A (n, n) and its differential; see kflow/batch.hpp for the formulas.
/// The object keeps its memory from one evaluation to the next.
class Rho {
   public:
    /// Factors A_cc for the positions c, or throws.
    using FactorSubset = std::function<void(const Index* rows, Cholesky& a_cc)>;

    /// rho averaged over n_halves coarse subsets of n_coarse positions: the first ones, whose
    /// factor is the leading block of u, and the rows of `further` (n_halves - 1, n_coarse), which
    /// are factored on their own. It is 0 when y (n, m) is 0. Overwrites y. Cost n^2 m, and
    /// n_coarse^3/3 for each further subset.
    double evaluate(const Cholesky& u, MatrixView<double> y, Index n_coarse, const Index* further,
                    Index n_halves, const FactorSubset& factor_subset);

    /// d rho = -(1 / norm) sum_ij (left right')_ij dA_ij with norm = tr(Y' A^-1 Y), of the scaled
    /// Y, and factors (n, rank). If norm is 0, so is d rho.
    double norm() const { return norm_; }
    MatrixView<const double> left() const { return {left_.data(), n_, rank_}; }
    MatrixView<const double> right() const { return {right_.data(), n_, rank_}; }

   private:
    Index n_ = 0, rank_ = 0;
    double norm_ = 0.0;
    std::vector<double> left_, right_;
    Cholesky coarse_;               // of A_cc for one further coarse subset
    AlignedVector<double> panels_;  // panels of Y's columns, then V = U'^-1 Y
};

/// Multiplies n numbers by the power of two that brings the largest below 1. That is exact, and
/// squares then neither overflow nor vanish all.
void scale_below_one(double* x, Index n);

}  // namespace kflow::detail
