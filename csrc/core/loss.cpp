#include "kflow/loss.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/aligned.hpp"
#include "core/cholesky.hpp"
#include "core/rho.hpp"
#include "core/symmetric.hpp"

namespace kflow::loss {
namespace {

using detail::Cholesky;
using detail::Rows;
using Matrix = MatrixView<const double>;

constexpr double kTwoPi = 6.283185307179586476925;

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

double square(double x) { return x * x; }

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
    detail::factor_block(a, order, u, n_threads);
    std::vector<double> targets = detail::rows_of(y, order);
    detail::Rho algebra;
    const double value = algebra.evaluate(u, {targets.data(), n, m}, halves.cols, further.data(),
                                          halves.rows, [&](const Index* positions, Cholesky& a_cc) {
                                              Rows rows;
                                              for (Index i = 0; i < halves.cols; ++i) {
                                                  rows.push_back(order[size(positions[i])]);
                                              }
                                              detail::factor_block(a, rows, a_cc, n_threads);
                                          });
    if (gradient.data == nullptr) {
        return value;
    }
    if (algebra.norm() == 0.0) {
        clear(gradient);
        return value;
    }
    detail::ThinFactors factors(n, algebra.left().cols);
    for (Index i = 0; i < n; ++i) {
        const double* left = algebra.left().row(i);
        for (Index k = 0; k < factors.rank(); ++k) {
            factors.left()(order[size(i)], k) = -left[k] / algebra.norm();
        }
        std::copy_n(algebra.right().row(i), factors.rank(), factors.right().row(order[size(i)]));
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
    detail::ThinFactors factors(want_gradient ? n : 0, 2 * m * halves.rows);
    Cholesky u;
    detail::AlignedVector<double> panels;
    double loss = 0.0;
    for (Index h = 0; h < halves.rows; ++h) {
        const Rows c(halves.row(h), halves.row(h) + n_coarse), p = rows_of_half(h);
        const Index n_fine = static_cast<Index>(p.size());
        detail::factor_block(a, c, u, n_threads);
        std::vector<double> t = detail::rows_of(y, c), s(size(n_coarse * m)), g(size(n_fine * m));
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
    std::vector<double> scaled = detail::rows_of(y, detail::all_rows(y.rows));
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

double nlml(Matrix a, Matrix y, MatrixView<double> gradient, int n_threads) {
    const Index n = a.rows, m = y.cols;
    const auto outputs = static_cast<double>(m);
    Cholesky u;
    detail::factor_block(a, detail::all_rows(n), u, n_threads);
    detail::ThinFactors factors(n, m);
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
    factors.add_to(gradient, n_threads);
    return value;
}

double mmd(Matrix a, MatrixView<const Index> halves, MatrixView<double> gradient, int n_threads) {
    const Index n = a.rows, rank = halves.rows + 1;
    const auto fine = static_cast<double>(n), coarse = static_cast<double>(halves.cols);
    const double share = 1.0 / static_cast<double>(halves.rows);
    // The weights of an entry in the three means. A coarse point is in the batch, too, so that the
    // mean over both has n_coarse (n - 1) entries.
    const double batch = 1.0 / (fine * (fine - 1.0)), half = share / (coarse * (coarse - 1.0));
    const double both = share / (coarse * (fine - 1.0));
    // Columns: one, and the indicators of the halves.
    detail::ThinFactors factors(n, rank);
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
    const Rows rows = detail::all_rows(n);
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
