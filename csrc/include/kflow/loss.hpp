#pragma once

#include "kflow/matrix_view.hpp"

namespace kflow::loss {

// Losses of a kernel, as functions of its values on a batch: each takes A = K(x, x) + nugget I
// (n, n), which must be symmetric, and targets Y (n, m), returns its value and writes its gradient,
// the symmetric G (n, n) with dL = sum_ij G_ij dA_ij for all symmetric dA, unless the gradient's
// data is null.
//
// `halves` (n_halves, n_coarse) holds rows of coarse subsets, each without repetition; the loss is
// their average. c stands for one of them, p for the rows outside.
//
// All throw NotPositiveDefinite, with rows of A that look the same if there are two. A gradient
// must not overlap A or Y.

/// 1 - tr(Y_c' A_cc^-1 Y_c) / tr(Y' A^-1 Y), in [0, 1], and 0 for Y = 0: see kflow/batch.hpp.
/// Cost n^3/3, and n_coarse^3/3 for each half but the first. Gradient: 2 n^2 m (n_halves + 1).
double rho(MatrixView<const double> a, MatrixView<const double> y, MatrixView<const Index> halves,
           MatrixView<double> gradient, int n_threads);

/// |Y_p - A_pc A_cc^-1 Y_c|^2, the sum of squares. Its differential is that of the predictions, see
/// lyapunov(), contracted with twice their errors.
/// Cost n_coarse^3/3 for each half. Gradient: 2 n^2 m n_halves.
double e2(MatrixView<const double> a, MatrixView<const double> y, MatrixView<const Index> halves,
          MatrixView<double> gradient, int n_threads);

/// (mean log|u_i - u_j| - mean log|Y_i - Y_j|)^2 over pairs (i, j) of rows in p, with the
/// predictions u = A_pc b, b = A_cc^-1 Y_c, of the half. `pairs` (n_halves n_pairs, 2) holds those
/// of the first half first. Predictions closer than the smallest normal number count as that far
/// apart, and have no gradient.
///
/// A function of u with gradient g has dL = sum_ij (g b')_ij (dA_pc)_ij - (w b')_ij (dA_cc)_ij,
/// w = A_cc^-1 A_cp g.
/// Cost as for e2.
double lyapunov(MatrixView<const double> a, MatrixView<const double> y,
                MatrixView<const Index> halves, MatrixView<const Index> pairs,
                MatrixView<double> gradient, int n_threads);

/// sum_f |e_f|^2 over folds f of the residuals e_f = Y_f - (prediction from all other rows)
/// = (P_ff)^-1 alpha_f with P = A^-1, alpha = P Y. `folds` (n) holds each row's fold, from 0 on;
/// null: every row is a fold of its own, the leave-one-out loss.
///
/// With v_f = (P_ff)^-1 e_f, de_f = (P_ff)^-1 (d alpha_f - dP_ff e_f) and dP = -P dA P:
/// G = sym(2 P B P - 2 (P v) alpha') with the blocks v_f e_f' of B on the diagonal.
/// Cost n^3 and that of factoring all P_ff. Gradient: n^2 sum_f min(2 m, n_f).
double kfold(MatrixView<const double> a, MatrixView<const double> y, const Index* folds,
             MatrixView<double> gradient, int n_threads);

/// Leave-one-out residuals (n, m) alpha_i / P_ii, and variances (n) 1 / P_ii.
/// Cost 2 n^3/3.
void leave_one_out(MatrixView<const double> a, MatrixView<const double> y,
                   MatrixView<double> residuals, double* variances, int n_threads);

/// 0.5 (tr(Y' P Y) + m log det A + n m log 2 pi), the negative log marginal likelihood of m
/// Gaussian processes. G = 0.5 (m P - alpha alpha').
/// Cost n^3/3. Gradient: 2 n^3/3.
double nlml(MatrixView<const double> a, MatrixView<const double> y, MatrixView<double> gradient,
            int n_threads);

/// Squared maximum mean discrepancy of batch and half: mean over the batch + mean over the half - 2
/// (mean over both) of the A_ij with i != j. Without the diagonal, where the nugget is, this is 0
/// on average over all halves. n_coarse is at least 2.
/// Cost n^2 n_halves.
double mmd(MatrixView<const double> a, MatrixView<const Index> halves, MatrixView<double> gradient,
           int n_threads);

}  // namespace kflow::loss
