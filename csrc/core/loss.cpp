#include "kflow/loss.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/cholesky.hpp"
#include "core/parallel.hpp"
#include "core/rho.hpp"
#include "core/row_groups.hpp"
#include "core/simd_table.hpp"
#include "core/symmetric.hpp"
#include "kflow/error.hpp"

namespace kflow::loss {
namespace {

using detail::Cholesky;
using Matrix = MatrixView<const double>;
using Rows = std::vector<Index>;

constexpr double kTwoPi = 6.283185307179586476925;

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

double square(double x) { return x * x; }

double sum_of_squares(const std::vector<double>& x) {
    double sum = 0.0;
    for (double value : x) {
        sum += square(value);
    }
    return sum;
}

Rows all_rows(Index n) {
    Rows rows(size(n));
    std::iota(rows.begin(), rows.end(), Index(0));
    return rows;
}

std::vector<double> rows_of(Matrix y, const Rows& rows) {
    std::vector<double> out;
    for (Index i : rows) {
        out.insert(out.end(), y.row(i), y.row(i) + y.cols);
    }
    return out;
}

/// Names two rows that are the same to the kernel: then a 2 x 2 determinant is a rounding error.
[[noreturn]] void throw_singular(Matrix a, const Rows& rows) {
    constexpr double close = 1.0 - 4.0 * std::numeric_limits<double>::epsilon();
    for (Index i : rows) {
        for (Index j : rows) {
            if (j == i) {
                break;
            }
            const double value = std::abs(a(i, j));
            if (value > 0.0 && value >= close * std::sqrt(a(i, i)) * std::sqrt(a(j, j))) {
                throw NotPositiveDefinite(std::min(i, j), std::max(i, j));
            }
        }
    }
    throw NotPositiveDefinite(-1, -1);
}

/// u = the factor of A[rows, rows]
void factor(Matrix a, const Rows& rows, Cholesky& u, int n_threads) {
    const Index n = static_cast<Index>(rows.size());
    u.resize(n);
    const Index width = u.width();
    const int team = detail::team_for(4.0 * static_cast<double>(n * n), n_threads);
    detail::parallel_for(u.panels_of(n), team, [&](Index p, int) {
        const Index first = p * width, columns = std::min(width, n - first);
        for (Index i = 0; i < first + columns; ++i) {
            const double* row = a.row(rows[size(i)]);
            double* out = u.panel(p) + i * width;
            for (Index lane = 0; lane < columns; ++lane) {
                out[lane] = row[rows[size(first + lane)]];
            }
        }
    });
    if (!u.factor(n_threads)) {
        throw_singular(a, rows);
    }
}

/// left right' is a gradient.
struct Factors {
    Index n, rank;
    std::vector<double> left_data, right_data;

    Factors(Index n_, Index rank_)
        : n(n_), rank(rank_), left_data(size(n * rank)), right_data(left_data) {}

    MatrixView<double> left() { return {left_data.data(), n, rank}; }
    MatrixView<double> right() { return {right_data.data(), n, rank}; }

    void multiply(MatrixView<double> gradient, int n_threads, bool add = false) {
        detail::symmetric_product(left(), right(), add, gradient, n_threads);
    }
};

void clear(MatrixView<double> x) {
    for (Index i = 0; i < x.rows; ++i) {
        std::fill(x.row(i), x.row(i) + x.cols, 0.0);
    }
}

}  // namespace

double rho(Matrix a, Matrix y, MatrixView<const Index> halves, MatrixView<double> gradient,
           int n_threads) {
    const Index n = a.rows, m = y.cols;
    // The first half comes first.
    Rows order(halves.row(0), halves.row(0) + halves.cols), position(size(n), -1);
    for (Index i = 0; i < halves.cols; ++i) {
        position[size(order[size(i)])] = i;
    }
    for (Index i = 0; i < n; ++i) {
        if (position[size(i)] < 0) {
            position[size(i)] = static_cast<Index>(order.size());
            order.push_back(i);
        }
    }
    Rows further;
    for (Index h = 1; h < halves.rows; ++h) {
        for (Index i = 0; i < halves.cols; ++i) {
            further.push_back(position[size(halves(h, i))]);
        }
    }
    Cholesky u;
    factor(a, order, u, n_threads);
    std::vector<double> targets = rows_of(y, order);
    detail::Rho algebra;
    const double value = algebra.evaluate(u, {targets.data(), n, m}, halves.cols, further.data(),
                                          halves.rows, [&](const Index* positions, Cholesky& a_cc) {
                                              Rows rows;
                                              for (Index i = 0; i < halves.cols; ++i) {
                                                  rows.push_back(order[size(positions[i])]);
                                              }
                                              factor(a, rows, a_cc, n_threads);
                                          });
    if (gradient.data == nullptr) {
        return value;
    }
    if (algebra.norm() == 0.0) {
        clear(gradient);
        return value;
    }
    Factors factors(n, algebra.left().cols);
    for (Index i = 0; i < n; ++i) {
        const double* left = algebra.left().row(i);
        for (Index k = 0; k < factors.rank; ++k) {
            factors.left()(order[size(i)], k) = -left[k] / algebra.norm();
        }
        std::copy_n(algebra.right().row(i), factors.rank, factors.right().row(order[size(i)]));
    }
    factors.multiply(gradient, n_threads);
    return value;
}

namespace {

/// A loss of the predictions u = A_pc A_cc^-1 Y_c that each half makes at some rows p outside it:
/// rows_of_half(h) gives p, and misfit(h, p, u) the loss of half h, and leaves its gradient in u.
template <class RowsOfHalf, class Misfit>
double loss_of_predictions(Matrix a, Matrix y, MatrixView<const Index> halves,
                           const RowsOfHalf& rows_of_half, const Misfit& misfit,
                           MatrixView<double> gradient, int n_threads) {
    const Index n = a.rows, m = y.cols, n_coarse = halves.cols;
    const bool want_gradient = gradient.data != nullptr;
    const double share = 1.0 / static_cast<double>(halves.rows);
    // With s = g on p, -A_cc^-1 A_cp g on c, and t = A_cc^-1 Y_c on c: G = (s t' + t s') / 2.
    Factors factors(want_gradient ? n : 0, 2 * m * halves.rows);
    Cholesky u;
    detail::AlignedVector<double> panels;
    double loss = 0.0;
    for (Index h = 0; h < halves.rows; ++h) {
        const Rows c(halves.row(h), halves.row(h) + n_coarse), p = rows_of_half(h);
        const Index n_fine = static_cast<Index>(p.size());
        factor(a, c, u, n_threads);
        std::vector<double> t = rows_of(y, c), s(size(n_coarse * m)), g(size(n_fine * m));
        const MatrixView<double> coefficients(t.data(), n_coarse, m), pulled(s.data(), n_coarse, m),
            predictions(g.data(), n_fine, m);
        u.solve(coefficients, panels, n_threads);
        detail::multiply_block(a, c, p, coefficients, predictions, n_threads);
        loss += share * misfit(h, p, predictions);
        if (!want_gradient) {
            continue;
        }
        detail::multiply_block(a, p, c, predictions, pulled, n_threads);
        u.solve(pulled, panels, n_threads);
        const auto add = [&](Index row, Index column, double value_of_s, double value_of_t) {
            const Index at = 2 * m * h + column;
            factors.left()(row, at) = 0.5 * share * value_of_s;
            factors.right()(row, at) = value_of_t;
            factors.left()(row, at + m) = 0.5 * share * value_of_t;
            factors.right()(row, at + m) = value_of_s;
        };
        for (Index q = 0; q < m; ++q) {
            for (Index i = 0; i < n_fine; ++i) {
                add(p[size(i)], q, predictions(i, q), 0.0);
            }
            for (Index i = 0; i < n_coarse; ++i) {
                add(c[size(i)], q, -pulled(i, q), coefficients(i, q));
            }
        }
    }
    if (want_gradient) {
        factors.multiply(gradient, n_threads);
    }
    return loss;
}

/// |x - y|, which neither overflows nor vanishes where x and y differ.
double distance(const double* x, const double* y, Index m) {
    double largest = 0.0, sum = 0.0;
    for (Index q = 0; q < m; ++q) {
        largest = std::max(largest, std::abs(x[q] - y[q]));
    }
    for (Index q = 0; largest > 0.0 && q < m; ++q) {
        sum += square((x[q] - y[q]) / largest);
    }
    return largest * std::sqrt(sum);
}

}  // namespace

double e2(Matrix a, Matrix y, MatrixView<const Index> halves, MatrixView<double> gradient,
          int n_threads) {
    const auto outside = [&](Index h) {
        std::vector<char> inside(size(a.rows), 0);
        for (Index i = 0; i < halves.cols; ++i) {
            inside[size(halves(h, i))] = 1;
        }
        Rows rows;
        for (Index i = 0; i < a.rows; ++i) {
            if (inside[size(i)] == 0) {
                rows.push_back(i);
            }
        }
        return rows;
    };
    const auto misfit = [&](Index, const Rows& p, MatrixView<double> u) {
        double sum = 0.0;
        for (Index i = 0; i < u.rows; ++i) {
            for (Index q = 0; q < u.cols; ++q) {
                const double error = u(i, q) - y(p[size(i)], q);
                sum += square(error);
                u(i, q) = 2.0 * error;
            }
        }
        return sum;
    };
    return loss_of_predictions(a, y, halves, outside, misfit, gradient, n_threads);
}

double lyapunov(Matrix a, Matrix y, MatrixView<const Index> halves, MatrixView<const Index> pairs,
                MatrixView<double> gradient, int n_threads) {
    const Index m = y.cols, n_pairs = pairs.rows / halves.rows;
    // The scale of the targets cancels.
    std::vector<double> scaled = rows_of(y, all_rows(y.rows));
    detail::scale_below_one(scaled.data(), y.rows * m);
    const Matrix targets(scaled.data(), y.rows, m);
    Rows position(size(a.rows));
    const auto rows_of_pairs = [&](Index h) {
        std::fill(position.begin(), position.end(), Index(-1));
        Rows rows;
        for (Index k = 0; k < 2 * n_pairs; ++k) {
            const Index row = pairs(h * n_pairs + k / 2, k % 2);
            if (position[size(row)] < 0) {
                position[size(row)] = static_cast<Index>(rows.size());
                rows.push_back(row);
            }
        }
        return rows;
    };
    const auto misfit = [&](Index h, const Rows&, MatrixView<double> u) {
        constexpr double closest = std::numeric_limits<double>::min();
        std::vector<double> slopes(size(u.rows * m), 0.0);
        const double share = 1.0 / static_cast<double>(n_pairs);
        double difference = 0.0;
        for (Index k = h * n_pairs; k < (h + 1) * n_pairs; ++k) {
            const Index i = position[size(pairs(k, 0))], j = position[size(pairs(k, 1))];
            const double true_distance =
                distance(targets.row(pairs(k, 0)), targets.row(pairs(k, 1)), m);
            const double predicted = distance(u.row(i), u.row(j), m);
            difference +=
                share * (std::log(std::max(predicted, closest)) - std::log(true_distance));
            for (Index q = 0; predicted >= closest && q < m; ++q) {
                const double slope = share * ((u(i, q) - u(j, q)) / predicted / predicted);
                slopes[size(i * m + q)] += slope;
                slopes[size(j * m + q)] -= slope;
            }
        }
        for (Index k = 0; k < u.rows * m; ++k) {
            u.data[k] = 2.0 * difference * slopes[size(k)];
        }
        return square(difference);
    };
    return loss_of_predictions(a, targets, halves, rows_of_pairs, misfit, gradient, n_threads);
}

namespace {

/// e_f = (P_ff)^-1 alpha_f and v_f = (P_ff)^-1 e_f for the rows f of one fold.
void solve_fold(const detail::AlignedVector<double>& inverse, const std::vector<double>& diagonal,
                const Rows& fold, Matrix alpha, MatrixView<double> e, MatrixView<double> v) {
    const Index n = alpha.rows, m = alpha.cols, count = static_cast<Index>(fold.size());
    if (count == 1) {
        const double variance = 1.0 / diagonal[size(fold[0])];
        for (Index q = 0; q < m; ++q) {
            e(fold[0], q) = variance * alpha(fold[0], q);
            v(fold[0], q) = variance * e(fold[0], q);
        }
        return;
    }
    Cholesky block;
    block.resize(count);
    const Index width = block.width();
    for (Index j = 0; j < count; ++j) {
        const Index row = fold[size(j)];
        const double* column = inverse.data() + row / width * n * width + row % width;
        for (Index i = 0; i <= j; ++i) {
            block(i, j) = column[fold[size(i)] * width];
        }
    }
    if (!block.factor(1)) {
        throw NotPositiveDefinite(-1, -1);
    }
    detail::AlignedVector<double> panels;
    std::vector<double> solution = rows_of(alpha, fold);
    for (const MatrixView<double>& out : {e, v}) {
        block.solve({solution.data(), count, m}, panels, 1);
        for (Index i = 0; i < count; ++i) {
            std::copy_n(solution.data() + i * m, m, out.row(fold[size(i)]));
        }
    }
}

/// The rows of every fold; all are folds of their own without numbers.
std::vector<Rows> members(const Index* folds, Index n) {
    std::vector<Rows> out(folds == nullptr ? size(n) : 0);
    for (Index i = 0; i < n; ++i) {
        const Index fold = folds == nullptr ? i : folds[i];
        out.resize(std::max(out.size(), size(fold + 1)));
        out[size(fold)].push_back(i);
    }
    return out;
}

/// Part of the columns of left and right, left right' = 2 sym(P B P), that one fold gives. Of the
/// two ways to write it the one of lower rank: P_f (v e' + e v') P_f', or P_f v (P_f e)' and its
/// transpose.
struct FoldColumns {
    Index first, rank;
    bool dense;
    detail::RowGroups<double> coefficients;  // v e' + e v', or (v, e)'
};

}  // namespace

double kfold(Matrix a, Matrix y, const Index* folds, MatrixView<double> gradient, int n_threads) {
    const Index n = a.rows, m = y.cols;
    const std::vector<Rows> rows = members(folds, n);
    const Index n_folds = static_cast<Index>(rows.size());
    const bool want_gradient = gradient.data != nullptr;
    const bool want_inverse =
        want_gradient ||
        std::any_of(rows.begin(), rows.end(), [](auto& fold) { return fold.size() > 1; });
    std::vector<double> alpha_data = rows_of(y, all_rows(n)), diagonal(size(n));
    const MatrixView<double> alpha(alpha_data.data(), n, m);
    detail::AlignedVector<double> inverse;
    Index width = 0;
    {
        Cholesky u;
        factor(a, all_rows(n), u, n_threads);
        width = u.width();
        u.solve(alpha, inverse, n_threads);
        inverse.resize(want_inverse ? size(u.elements_of(n)) : 0);
        u.invert(diagonal.data(), want_inverse ? inverse.data() : nullptr, n_threads);
    }
    std::vector<double> e_data(size(n * m)), v_data(size(n * m));
    const MatrixView<double> e(e_data.data(), n, m), v(v_data.data(), n, m);
    const int team =
        detail::team_for(static_cast<double>(n * n) * static_cast<double>(n), n_threads);
    detail::parallel_for(n_folds, team, [&](Index f, int) {
        if (!rows[size(f)].empty()) {
            solve_fold(inverse, diagonal, rows[size(f)], alpha, e, v);
        }
    });
    const double value = sum_of_squares(e_data);
    if (!want_gradient) {
        return value;
    }

    std::vector<FoldColumns> columns;
    Index rank = 0;
    for (const Rows& fold : rows) {
        const Index count = static_cast<Index>(fold.size());
        FoldColumns mine{rank, std::min(2 * m, count), count <= 2 * m, {}};
        std::vector<double> coefficients(size(count * mine.rank));
        for (Index i = 0; i < count; ++i) {
            const Index row = fold[size(i)];
            for (Index j = 0; mine.dense && j < count; ++j) {
                double sum = 0.0;
                for (Index q = 0; q < m; ++q) {
                    sum += v(row, q) * e(fold[size(j)], q) + e(row, q) * v(fold[size(j)], q);
                }
                coefficients[size(i * count + j)] = sum;
            }
            for (Index q = 0; !mine.dense && q < m; ++q) {
                coefficients[size(i * mine.rank + q)] = v(row, q);
                coefficients[size(i * mine.rank + m + q)] = e(row, q);
            }
        }
        mine.coefficients.set_transposed({coefficients.data(), count, mine.rank});
        rank += mine.rank;
        columns.push_back(std::move(mine));
    }

    // The last columns are those of -(P v) alpha' and its transpose.
    const auto& routines = detail::simd().f64;
    Factors factors(n, rank + 2 * m);
    detail::RowGroups<double> all_v;
    all_v.set_transposed(v);
    struct Scratch {
        detail::AlignedVector<double> left, right, block;
    };
    std::vector<Scratch> scratch(size(std::max(team, 1)));
    detail::parallel_for((n + width - 1) / width, team, [&](Index p, int worker) {
        Scratch& mine = scratch[size(worker)];
        mine.left.resize(size(factors.rank * width));
        mine.right.resize(size(factors.rank * width));
        mine.block.resize(size(n * width));
        const double* panel = inverse.data() + p * n * width;
        for (Index f = 0; f < n_folds; ++f) {
            const FoldColumns& fold = columns[size(f)];
            double* left = mine.left.data() + fold.first * width;
            double* right = mine.right.data() + fold.first * width;
            double* block = fold.dense ? right : mine.block.data();
            for (std::size_t i = 0; i < rows[size(f)].size(); ++i) {
                std::copy_n(panel + rows[size(f)][i] * width, width,
                            block + static_cast<Index>(i) * width);
            }
            fold.coefficients.multiply(block, 1, left);
            if (!fold.dense) {
                std::copy_n(left, m * width, right + m * width);
                std::copy_n(left + m * width, m * width, right);
            }
        }
        double* left = mine.left.data() + rank * width;
        double* right = mine.right.data() + rank * width;
        all_v.multiply(panel, 1, left);
        std::copy_n(left, m * width, right + m * width);
        const Index count = std::min(width, n - p * width);
        for (Index q = 0; q < m; ++q) {
            for (Index lane = 0; lane < count; ++lane) {
                left[q * width + lane] *= -1.0;
                left[(m + q) * width + lane] = -alpha(p * width + lane, q);
                right[q * width + lane] = alpha(p * width + lane, q);
            }
        }
        routines.unpack(mine.left.data(),
                        {factors.left().row(p * width), count, factors.rank, factors.rank});
        routines.unpack(mine.right.data(),
                        {factors.right().row(p * width), count, factors.rank, factors.rank});
    });
    inverse = {};
    factors.multiply(gradient, n_threads);
    return value;
}

void leave_one_out(Matrix a, Matrix y, MatrixView<double> residuals, double* variances,
                   int n_threads) {
    const Index n = a.rows;
    Cholesky u;
    factor(a, all_rows(n), u, n_threads);
    for (Index i = 0; i < n; ++i) {
        std::copy_n(y.row(i), y.cols, residuals.row(i));
    }
    detail::AlignedVector<double> panels;
    u.solve(residuals, panels, n_threads);
    u.invert(variances, nullptr, n_threads);
    for (Index i = 0; i < n; ++i) {
        variances[i] = 1.0 / variances[i];
        for (Index q = 0; q < y.cols; ++q) {
            residuals(i, q) *= variances[i];
        }
    }
}

double nlml(Matrix a, Matrix y, MatrixView<double> gradient, int n_threads) {
    const Index n = a.rows, m = y.cols;
    const auto outputs = static_cast<double>(m);
    Cholesky u;
    factor(a, all_rows(n), u, n_threads);
    Factors factors(n, m);
    const MatrixView<double> alpha = factors.right();
    for (Index i = 0; i < n; ++i) {
        std::copy_n(y.row(i), m, alpha.row(i));
    }
    detail::AlignedVector<double> panels;
    u.solve(alpha, panels, n_threads);
    double form = 0.0, half_log_det = 0.0;
    for (Index i = 0; i < n; ++i) {
        half_log_det += std::log(u(i, i));
        for (Index q = 0; q < m; ++q) {
            form += y(i, q) * alpha(i, q);
            factors.left()(i, q) = -0.5 * alpha(i, q);
        }
    }
    const double value =
        0.5 * form + outputs * (half_log_det + 0.5 * static_cast<double>(n) * std::log(kTwoPi));
    if (gradient.data == nullptr) {
        return value;
    }
    std::vector<double> diagonal(size(n));
    panels.resize(size(u.elements_of(n)));
    u.invert(diagonal.data(), panels.data(), n_threads);
    for (double& entry : panels) {
        entry *= 0.5 * outputs;
    }
    detail::from_panels(panels.data(), u.width(), gradient);
    factors.multiply(gradient, n_threads, true);
    return value;
}

double mmd(Matrix a, MatrixView<const Index> halves, MatrixView<double> gradient, int n_threads) {
    const Index n = a.rows, rank = halves.rows + 1;
    const auto fine = static_cast<double>(n), coarse = static_cast<double>(halves.cols);
    const double share = 1.0 / static_cast<double>(halves.rows);
    // What an entry counts in the three means; both of a pair are in the batch, hence "both" has
    // n_coarse (n - 1) entries.
    const double batch = 1.0 / (fine * (fine - 1.0)), half = share / (coarse * (coarse - 1.0));
    const double both = share / (coarse * (fine - 1.0));
    // Columns: one, and the indicators of the halves.
    Factors factors(n, rank);
    const MatrixView<double> indicators = factors.right();
    for (Index i = 0; i < n; ++i) {
        indicators(i, 0) = 1.0;
    }
    for (Index h = 0; h < halves.rows; ++h) {
        for (Index i = 0; i < halves.cols; ++i) {
            indicators(halves(h, i), h + 1) = 1.0;
        }
    }
    std::vector<double> sums_data(size(n * rank));
    const MatrixView<double> sums(sums_data.data(), n, rank);
    const Rows rows = all_rows(n);
    detail::multiply_block(a, rows, rows, indicators, sums, n_threads);
    double value = 0.0;
    for (Index i = 0; i < n; ++i) {
        double& weight = factors.left()(i, 0);
        weight = batch;
        for (Index h = 1; h < rank; ++h) {
            weight -= both * indicators(i, h);
            factors.left()(i, h) = half * indicators(i, h) - both;
        }
        for (Index h = 0; h < rank; ++h) {
            value += factors.left()(i, h) * (sums(i, h) - a(i, i) * indicators(i, h));
        }
    }
    if (gradient.data != nullptr) {
        factors.multiply(gradient, n_threads);
        for (Index i = 0; i < n; ++i) {
            gradient(i, i) = 0.0;
        }
    }
    return value;
}

}  // namespace kflow::loss
