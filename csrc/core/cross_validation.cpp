#include <algorithm>
#include <utility>
#include <vector>

#include "core/aligned.hpp"
#include "core/cholesky.hpp"
#include "core/parallel.hpp"
#include "core/row_groups.hpp"
#include "core/simd_table.hpp"
#include "core/symmetric.hpp"
#include "kflow/error.hpp"
#include "kflow/loss.hpp"

namespace kflow::loss {
namespace {

using detail::AlignedVector;
using detail::Cholesky;
using detail::RowGroups;
using detail::Rows;
using Matrix = MatrixView<const double>;

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

/// The rows of every fold; if there are no numbers, each row is a fold of its own.
std::vector<Rows> members(const Index* folds, Index n) {
    std::vector<Rows> out(folds == nullptr ? size(n) : 0);
    for (Index i = 0; i < n; ++i) {
        const Index fold = folds == nullptr ? i : folds[i];
        out.resize(std::max(out.size(), size(fold + 1)));
        out[size(fold)].push_back(i);
    }
    return out;
}

/// P = A^-1 in panels of columns, which may be missing, and its diagonal.
struct Inverse {
    Index n = 0, width = 1;
    AlignedVector<double> panels;
    std::vector<double> diagonal;

    Index n_panels() const { return (n + width - 1) / width; }
    const double* panel(Index p) const { return panels.data() + p * n * width; }
    double operator()(Index i, Index j) const { return panel(j / width)[i * width + j % width]; }
};

/// e_f = (P_ff)^-1 alpha_f and v_f = (P_ff)^-1 e_f for the rows f of one fold.
void solve_fold(const Inverse& inverse, const Rows& fold, Matrix alpha, MatrixView<double> e,
                MatrixView<double> v) {
    const Index m = alpha.cols, count = static_cast<Index>(fold.size());
    if (count == 0) {
        return;
    }
    if (count == 1) {
        const double variance = 1.0 / inverse.diagonal[size(fold[0])];
        for (Index q = 0; q < m; ++q) {
            e(fold[0], q) = variance * alpha(fold[0], q);
            v(fold[0], q) = variance * e(fold[0], q);
        }
        return;
    }
    Cholesky block;
    block.resize(count);
    for (Index j = 0; j < count; ++j) {
        for (Index i = 0; i <= j; ++i) {
            block(i, j) = inverse(fold[size(i)], fold[size(j)]);
        }
    }
    if (!block.factor(1)) {
        throw NotPositiveDefinite(-1, -1);
    }
    AlignedVector<double> panels;
    std::vector<double> solution = detail::rows_of(alpha, fold);
    for (const MatrixView<double>& out : {e, v}) {
        block.solve({solution.data(), count, m}, panels, 1);
        for (Index i = 0; i < count; ++i) {
            std::copy_n(solution.data() + i * m, m, out.row(fold[size(i)]));
        }
    }
}

/// What one fold f contributes to 2 sym(P B P): P_f S P_f' with S = v_f e_f' + e_f v_f' and P_f the
/// columns f of P. Of the two ways to write it as a product of factors, P_f S times P_f, and (P_f
/// v_f, P_f e_f) times (P_f e_f, P_f v_f), the one of lower rank.
class FoldColumns {
   public:
    FoldColumns(const Rows& fold, Matrix e, Matrix v)
        : fold_(fold), m_(e.cols), rank_(std::min(2 * m_, rows())), whole_(rows() <= 2 * m_) {
        std::vector<double> coefficients(size(rows() * rank_));
        for (Index i = 0; i < rows(); ++i) {
            double* const out = coefficients.data() + i * rank_;
            const double *const ei = e.row(fold[size(i)]), *const vi = v.row(fold[size(i)]);
            for (Index j = 0; whole_ && j < rows(); ++j) {
                const double *const ej = e.row(fold[size(j)]), *const vj = v.row(fold[size(j)]);
                for (Index q = 0; q < m_; ++q) {
                    out[j] += vi[q] * ej[q] + ei[q] * vj[q];
                }
            }
            if (!whole_) {
                std::copy_n(vi, m_, out);
                std::copy_n(ei, m_, out + m_);
            }
        }
        coefficients_.set_transposed({coefficients.data(), rows(), rank_});
    }

    Index rank() const { return rank_; }

    /// left, right (rank, width) of the points of one panel (n, width) of P; scratch (n, width).
    void evaluate(const double* panel, Index width, double* scratch, double* left,
                  double* right) const {
        double* const block = whole_ ? right : scratch;
        for (Index i = 0; i < rows(); ++i) {
            std::copy_n(panel + fold_[size(i)] * width, width, block + i * width);
        }
        coefficients_.multiply(block, 1, left);
        if (!whole_) {
            std::copy_n(left, m_ * width, right + m_ * width);
            std::copy_n(left + m_ * width, m_ * width, right);
        }
    }

   private:
    Index rows() const { return static_cast<Index>(fold_.size()); }

    const Rows& fold_;
    Index m_, rank_;
    bool whole_;
    RowGroups<double> coefficients_;  // S, or (v_f, e_f)'
};

/// 2 sym(P B P) - (P v) alpha' - alpha (P v)', the last two in the last columns of the factors.
void write_gradient(const Inverse& inverse, const std::vector<Rows>& folds, Matrix alpha, Matrix e,
                    Matrix v, MatrixView<double> gradient, int n_threads) {
    const auto& routines = detail::simd().f64;
    const Index n = inverse.n, m = alpha.cols, width = inverse.width;
    std::vector<FoldColumns> columns;
    Index rank = 2 * m;
    for (const Rows& fold : folds) {
        columns.emplace_back(fold, e, v);
        rank += columns.back().rank();
    }
    RowGroups<double> all_v;
    all_v.set_transposed(v);
    detail::ThinFactors factors(n, rank);
    struct Scratch {
        AlignedVector<double> left, right, block;
    };
    const int team =
        detail::team_for(static_cast<double>(n * n) * static_cast<double>(rank), n_threads);
    std::vector<Scratch> scratch(size(std::max(team, 1)));
    detail::parallel_for(inverse.n_panels(), team, [&](Index p, int worker) {
        Scratch& mine = scratch[size(worker)];
        mine.left.resize(size(rank * width));
        mine.right.resize(size(rank * width));
        mine.block.resize(size(n * width));
        double *left = mine.left.data(), *right = mine.right.data();
        for (const FoldColumns& fold : columns) {
            fold.evaluate(inverse.panel(p), width, mine.block.data(), left, right);
            left += fold.rank() * width;
            right += fold.rank() * width;
        }
        all_v.multiply(inverse.panel(p), 1, left);
        const Index points = std::min(width, n - p * width);
        for (Index q = 0; q < m; ++q) {
            for (Index lane = 0; lane < points; ++lane) {
                const Index first = q * width + lane, second = (m + q) * width + lane;
                right[first] = alpha(p * width + lane, q);
                right[second] = left[first];
                left[first] *= -1.0;
                left[second] = -right[first];
            }
        }
        routines.unpack(mine.left.data(), {factors.left().row(p * width), points, rank});
        routines.unpack(mine.right.data(), {factors.right().row(p * width), points, rank});
    });
    factors.multiply(gradient, n_threads);
}

}  // namespace

double kfold(Matrix a, Matrix y, const Index* folds, MatrixView<double> gradient, int n_threads) {
    const Index n = a.rows, m = y.cols;
    const Rows rows = detail::all_rows(n);
    const std::vector<Rows> all_folds = members(folds, n);
    std::vector<double> alpha_data = detail::rows_of(y, rows), e_data(size(n * m)), v_data(e_data);
    const MatrixView<double> alpha(alpha_data.data(), n, m), e(e_data.data(), n, m),
        v(v_data.data(), n, m);
    Inverse inverse;
    {
        Cholesky u;
        detail::factor_block(a, rows, u, n_threads);
        u.solve(alpha, inverse.panels, n_threads);
        inverse.n = n;
        inverse.width = u.width();
        inverse.diagonal.resize(size(n));
        const auto several = [](const Rows& fold) { return fold.size() > 1; };
        const bool needed =
            gradient.data != nullptr || std::any_of(all_folds.begin(), all_folds.end(), several);
        inverse.panels.resize(needed ? size(u.elements_of(n)) : 0);
        u.invert(inverse.diagonal.data(), needed ? inverse.panels.data() : nullptr, n_threads);
    }
    const int team =
        detail::team_for(static_cast<double>(n * n) * static_cast<double>(n), n_threads);
    detail::parallel_for(static_cast<Index>(all_folds.size()), team, [&](Index f, int) {
        solve_fold(inverse, all_folds[size(f)], alpha, e, v);
    });
    double value = 0.0;
    for (double residual : e_data) {
        value += residual * residual;
    }
    if (gradient.data != nullptr) {
        write_gradient(inverse, all_folds, alpha, e, v, gradient, n_threads);
    }
    return value;
}

void leave_one_out(Matrix a, Matrix y, MatrixView<double> residuals, double* variances,
                   int n_threads) {
    const Index n = a.rows;
    Cholesky u;
    detail::factor_block(a, detail::all_rows(n), u, n_threads);
    for (Index i = 0; i < n; ++i) {
        std::copy_n(y.row(i), y.cols, residuals.row(i));
    }
    AlignedVector<double> panels;
    u.solve(residuals, panels, n_threads);
    u.invert(variances, nullptr, n_threads);
    for (Index i = 0; i < n; ++i) {
        variances[i] = 1.0 / variances[i];
        for (Index q = 0; q < y.cols; ++q) {
            residuals(i, q) *= variances[i];
        }
    }
}

}  // namespace kflow::loss
