#pragma once

#include <memory>
#include <vector>

#include "kflow/matrix_view.hpp"
#include "kflow/profile.hpp"

namespace kflow {

/// The N_f points of one layer and the algebra on them, always in double precision.
///
/// With A = K(x, x) + nugget I and a coarse subset c,
///
///     rho = 1 - tr(Y_c' A_cc^-1 Y_c) / tr(Y' A^-1 Y)   in [0, 1]
///
/// (Owhadi and Yoo, J. Comp. Phys. 389, 2019). With the coarse points first, A = L L' and
/// V = L^-1 Y this is sum_{i >= n_coarse} |V_i|^2 / sum_i |V_i|^2: one factorisation, no
/// subtraction. Its differential is -(1/D) sum_ij M_ij dK_ij with D = tr(Y' A^-1 Y) and
/// M = (1 - rho) y y' - z z', y = A^-1 Y, z = A_cc^-1 Y_c on c and zero elsewhere.
///
/// Use: resize, fill points() and targets(), factor, rho, then gradient and solve as needed. The
/// object keeps its memory from one layer to the next; two threads must not share one.
class Batch {
   public:
    Batch();
    ~Batch();

    /// n points in d dimensions with m targets; the first coarse subset comes first.
    void resize(Index n, Index d, Index m);

    MatrixView<double> points() { return {points_.data(), n_, d_}; }
    MatrixView<double> targets() { return {targets_.data(), n_, m_}; }

    /// Assembles and factors A. Translates points() to their mean, which changes no distance and
    /// keeps the digits. Throws NotPositiveDefinite. Cost n^3/3 + n^2 d flops.
    ///
    /// With `labels` (n entries, in the order of the points) returns the mean squared distance
    /// between points of equal label over that between points of different label; else NaN.
    double factor(const Profile& profile, double nugget, const int* labels, int n_threads);

    /// rho averaged over n_halves coarse subsets of n_coarse points: the first n_coarse points, and
    /// the rows of `further` (n_halves - 1, n_coarse), positions in the batch.
    /// It is 0 when the targets are 0. Overwrites targets(). Cost n^2 m, and n_coarse^3/3 for each
    /// further subset.
    double rho(Index n_coarse, const Index* further, Index n_halves, int n_threads);

    /// out (n, q) = d rho / d points, the first q coordinates. To be called once after rho(). Cost
    /// 2 n^2 (q + m n_halves).
    void gradient(MatrixView<double> out, int n_threads);

    /// b (n, q) <- A^-1 b. Cost 2 n^2 q.
    void solve(MatrixView<double> b, int n_threads);

   private:
    struct Workspace;
    [[noreturn]] void throw_not_positive_definite() const;

    Index n_ = 0, d_ = 0, m_ = 0;
    double diagonal_ = 1.0;        // 1 + nugget
    std::vector<double> points_;   // (n, d)
    std::vector<double> targets_;  // (n, m): Y, then V
    std::unique_ptr<Workspace> w_;
};

/// rho of points x (n, d) and targets y (n, m), with a batch of its own. `order` is a permutation
/// of the rows of which the first n_coarse are coarse. The gradient by the points comes by rows of
/// x, unless its view is null. Throws NotPositiveDefinite, with positions in `order`.
double rho(MatrixView<const double> x, MatrixView<const double> y, const Index* order,
           Index n_coarse, const Profile& profile, double nugget, MatrixView<double> gradient,
           int n_threads);

}  // namespace kflow
