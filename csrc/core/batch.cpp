#include "kflow/batch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "core/cholesky.hpp"
#include "core/kernel_operator.hpp"
#include "core/parallel.hpp"
#include "core/rho.hpp"
#include "core/row_groups.hpp"
#include "core/simd_table.hpp"
#include "kflow/error.hpp"

namespace kflow {

// All n x n matrices lie in panels of columns, like the factor.
struct Batch::Workspace {
    detail::Cholesky factor;               // of A
    detail::Rho rho;                       // and M = left right'
    detail::AlignedVector<double> kernel;  // K
    detail::AlignedVector<double> slope;   // dk/d(r^2), then M o 2 dk/d(r^2), scaled
    detail::AlignedVector<double> points;  // panels of points
    detail::AlignedVector<double> norms;   // |x_i|^2
    detail::AlignedVector<double> rhs;     // panels of the columns of a solve's b
    detail::RowGroups<double> rows;        // points
};

namespace {

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

double square(double x) { return x * x; }

// Mean squared distance between points of one label over that between different ones. With n_c
// points of a label, mean m_c and scatter V_c = sum |x - m_c|^2, n points in all and the origin at
// their mean, the sums of |x - x'|^2 over ordered pairs are sum_c 2 n_c V_c within labels and sum_c
// 2 ((n - n_c) V_c + n n_c |m_c|^2) between them.
double label_distance_ratio(MatrixView<const double> x, const int* labels) {
    struct Class {
        double count = 0.0, scatter = 0.0;
        std::vector<double> mean;
    };
    std::map<int, Class> classes;
    const Index d = x.cols;
    for (Index i = 0; i < x.rows; ++i) {
        Class& mine = classes[labels[i]];
        mine.mean.resize(size(d));
        mine.count += 1.0;
        for (Index k = 0; k < d; ++k) {
            mine.mean[size(k)] += x(i, k);
        }
    }
    for (auto& [label, mine] : classes) {
        for (double& value : mine.mean) {
            value /= mine.count;
        }
    }
    for (Index i = 0; i < x.rows; ++i) {
        Class& mine = classes[labels[i]];
        for (Index k = 0; k < d; ++k) {
            mine.scatter += square(x(i, k) - mine.mean[size(k)]);
        }
    }
    const auto n = static_cast<double>(x.rows);
    double within = 0.0, between = 0.0, n_within = 0.0, n_between = 0.0;
    for (const auto& [label, mine] : classes) {
        double mean_square = 0.0;
        for (double value : mine.mean) {
            mean_square += square(value);
        }
        within += mine.count * mine.scatter;
        between += (n - mine.count) * mine.scatter + n * mine.count * mean_square;
        n_within += mine.count * (mine.count - 1.0);
        n_between += mine.count * (n - mine.count);
    }
    return (within / n_within) / (between / n_between);
}

}  // namespace

Batch::Batch() : w_(std::make_unique<Workspace>()) {}
Batch::~Batch() = default;

void Batch::resize(Index n, Index d, Index m) {
    n_ = n;
    d_ = d;
    m_ = m;
    points_.resize(size(n * d));
    targets_.resize(size(n * m));
    w_->factor.resize(n);
    const Index elements = w_->factor.elements_of(n);
    w_->kernel.resize(size(elements));
    w_->slope.resize(size(elements));
    w_->norms.resize(size(w_->factor.panels_of(n) * w_->factor.width()));
    w_->points.resize(w_->norms.size() * size(d));
}

double Batch::factor(const Profile& profile, double nugget, const int* labels, int n_threads) {
    const auto& routines = detail::simd().f64;
    const MatrixView<double> x = points();
    diagonal_ = 1.0 + nugget;

    std::vector<double> mean(size(d_), 0.0);
    for (Index i = 0; i < n_; ++i) {
        for (Index k = 0; k < d_; ++k) {
            mean[size(k)] += x(i, k);
        }
    }
    for (double& value : mean) {
        value /= static_cast<double>(n_);
    }
    for (Index i = 0; i < n_; ++i) {
        routines.centre(x.row(i), mean.data(), x.row(i), d_);
    }
    std::fill(mean.begin(), mean.end(), 0.0);
    routines.pack(x, mean.data(), w_->points.data(), w_->norms.data());
    w_->rows.set(x);

    constexpr double close = 1e-6;
    const detail::Centres<double> centres{
        w_->rows.data(), w_->norms.data(), n_, d_, d_ <= detail::kDirectDimension, -1.0, close};
    const Index width = w_->factor.width(), panel_size = n_ * width;
    const int team = detail::team_for(
        static_cast<double>(n_ * n_) * (static_cast<double>(d_) + detail::kProfileWork), n_threads);
    detail::parallel_for(w_->factor.panels_of(n_), team, [&](Index p, int) {
        double* k = w_->kernel.data() + p * panel_size;
        double* slope = w_->slope.data() + p * panel_size;
        const Index columns = std::min(width, n_ - p * width);
        routines.distance_panels(centres, w_->points.data() + p * width * d_,
                                 w_->norms.data() + p * width, 1, slope);
        routines.evaluate_with_slope(profile, slope, k, slope, panel_size);
        for (Index lane = 0; lane < columns; ++lane) {
            const Index diagonal = (p * width + lane) * width + lane;
            k[diagonal] = diagonal_;
            slope[diagonal] = 0.0;
        }
        double* a = w_->factor.panel(p);
        if (columns == width) {
            std::copy(k, k + panel_size, a);
        } else {
            for (Index j = 0; j < n_; ++j) {
                std::copy(k + j * width, k + j * width + columns, a + j * width);
            }
        }
    });

    if (!w_->factor.factor(n_threads)) {
        throw_not_positive_definite();
    }
    return labels != nullptr ? label_distance_ratio(x, labels)
                             : std::numeric_limits<double>::quiet_NaN();
}

// Looks for the pair that explains the failure, so that the caller can name it.
void Batch::throw_not_positive_definite() const {
    for (Index i = 0; i < n_; ++i) {
        for (Index j = 0; j < i; ++j) {
            double sum = 0.0;
            for (Index c = 0; c < d_; ++c) {
                sum += square(points_[size(i * d_ + c)] - points_[size(j * d_ + c)]);
            }
            if (sum <= 1e-24 * (w_->norms[size(i)] + w_->norms[size(j)])) {
                throw NotPositiveDefinite(j, i);
            }
        }
    }
    throw NotPositiveDefinite(-1, -1);
}

double Batch::rho(Index n_coarse, const Index* further, Index n_halves, int n_threads) {
    const auto factor_subset = [&](const Index* rows, detail::Cholesky& a) {
        a.resize(n_coarse);
        const Index width = a.width();
        for (Index j = 0; j < n_coarse; ++j) {
            const double* column =
                w_->kernel.data() + rows[j] / width * n_ * width + rows[j] % width;
            for (Index i = 0; i <= j; ++i) {
                a(i, j) = column[rows[i] * width];
            }
        }
        if (!a.factor(n_threads)) {
            throw_not_positive_definite();
        }
    };
    return w_->rho.evaluate(w_->factor, targets(), n_coarse, further, n_halves, factor_subset);
}

void Batch::gradient(MatrixView<double> out, int n_threads) {
    const double norm = w_->rho.norm();
    if (norm == 0.0) {
        for (Index i = 0; i < n_; ++i) {
            std::fill(out.row(i), out.row(i) + out.cols, 0.0);
        }
        return;
    }
    const auto& routines = detail::simd().f64;
    const MatrixView<const double> right = w_->rho.right();
    const Index rank = right.cols;
    const int team =
        detail::team_for(static_cast<double>(n_ * n_) * static_cast<double>(d_ + rank), n_threads);
    // d rho / dx_i = -(2/D) sum_j W_ij (x_i - x_j), W = M o 2 dk/d(r^2). The scale and the sum over
    // j of the first term go into W, so that one product gives the gradient.
    const double scale = 4.0 / norm;
    const Index width = w_->factor.width(), n_panels = w_->factor.panels_of(n_);
    const std::vector<double> nothing(size(std::max(d_, rank)), 0.0);
    detail::RowGroups<double> left, coordinates;
    left.set(w_->rho.left());
    coordinates.set_transposed({points_.data(), n_, out.cols, d_});
    struct Scratch {
        detail::AlignedVector<double> right, norms, product;
    };
    std::vector<Scratch> scratch(size(std::max(team, 1)));
    detail::parallel_for(n_panels, team, [&](Index p, int worker) {
        Scratch& mine = scratch[size(worker)];
        mine.right.resize(size(std::max(rank, out.cols) * width));
        mine.norms.resize(size(width));
        mine.product.resize(size(n_ * width));
        const Index columns = std::min(width, n_ - p * width);
        routines.pack({right.row(p * width), columns, rank}, nothing.data(), mine.right.data(),
                      mine.norms.data());
        left.multiply(mine.right.data(), 1, mine.product.data());
        double* w = w_->slope.data() + p * n_ * width;
        routines.weigh(mine.product.data(), scale, n_, w, mine.norms.data());
        for (Index lane = 0; lane < columns; ++lane) {
            w[(p * width + lane) * width + lane] -= mine.norms[size(lane)];
        }
        coordinates.multiply(w, 1, mine.right.data());
        routines.unpack(mine.right.data(), {out.row(p * width), columns, out.cols, out.stride});
    });
}

void Batch::solve(MatrixView<double> b, int n_threads) { w_->factor.solve(b, w_->rhs, n_threads); }

double rho(MatrixView<const double> x, MatrixView<const double> y, const Index* order,
           Index n_coarse, const Profile& profile, double nugget, MatrixView<double> gradient,
           int n_threads) {
    Batch batch;
    batch.resize(x.rows, x.cols, y.cols);
    for (Index i = 0; i < x.rows; ++i) {
        std::copy_n(x.row(order[i]), x.cols, batch.points().row(i));
        std::copy_n(y.row(order[i]), y.cols, batch.targets().row(i));
    }
    batch.factor(profile, nugget, nullptr, n_threads);
    const double loss = batch.rho(n_coarse, nullptr, 1, n_threads);
    if (gradient.data != nullptr) {
        std::vector<double> ordered(size(x.rows * x.cols));
        batch.gradient({ordered.data(), x.rows, x.cols}, n_threads);
        for (Index i = 0; i < x.rows; ++i) {
            std::copy_n(ordered.data() + i * x.cols, x.cols, gradient.row(order[i]));
        }
    }
    return loss;
}

}  // namespace kflow
