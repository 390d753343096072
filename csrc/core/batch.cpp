#include "kflow/batch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "core/cholesky.hpp"
#include "core/kernel_operator.hpp"
#include "core/parallel.hpp"
#include "core/row_groups.hpp"
#include "core/simd_table.hpp"
#include "kflow/error.hpp"

namespace kflow {

// All n x n matrices lie in panels of columns, like the factor.
struct Batch::Workspace {
    detail::Cholesky factor;                // of A
    detail::Cholesky coarse;                // of A_cc for one further coarse subset
    detail::AlignedVector<double> kernel;   // K
    detail::AlignedVector<double> slope;    // dk/d(r^2), then M o 2 dk/d(r^2), scaled
    detail::AlignedVector<double> points;   // panels of points
    detail::AlignedVector<double> norms;    // |x_i|^2
    detail::AlignedVector<double> targets;  // panels of Y's columns, then V = U'^-1 Y
    detail::AlignedVector<double> rhs;      // panels of the columns of a solve's b
    detail::RowGroups<double> rows;         // points
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

double Batch::factor(const Kernel& kernel, double nugget, const int* labels, int n_threads) {
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
        routines.profile_and_slope(kernel, slope, k, slope, panel_size);
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

    detail::Cholesky& u = w_->factor;
    const bool factored = u.factor(n_threads);
    double smallest = factored ? std::numeric_limits<double>::infinity() : 0.0;
    for (Index i = 0; factored && i < n_; ++i) {
        smallest = std::min(smallest, u(i, i));
    }
    // Pivots this small are rounding errors: a factor exists, but none of its digits is right.
    const double noise = static_cast<double>(n_) * std::numeric_limits<double>::epsilon();
    if (!(square(smallest) > noise * diagonal_)) {
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
    const MatrixView<double> v = targets();
    const double share = 1.0 / static_cast<double>(n_halves);
    rank_ = m_ * (n_halves + 1);
    left_.assign(size(n_ * rank_), 0.0);
    right_.assign(size(n_ * rank_), 0.0);
    const MatrixView<double> left(left_.data(), n_, rank_), right(right_.data(), n_, rank_);

    // rho does not change with the scale of the targets, but their squares overflow. A power of two
    // is exact.
    double largest = 0.0;
    for (Index i = 0; i < n_ * m_; ++i) {
        largest = std::max(largest, std::abs(v.data[i]));
    }
    int exponent = 0;
    std::frexp(largest, &exponent);
    for (Index i = 0; i < n_ * m_; ++i) {
        v.data[i] = std::ldexp(v.data[i], -exponent);
    }

    const detail::Cholesky& u = w_->factor;
    const Index width = u.width(), n_panels = u.panels_of(m_);
    auto& panels = w_->targets;
    panels.resize(size(u.elements_of(m_)));
    const std::vector<double> y(v.data, v.data + n_ * m_);
    detail::to_panels(v, width, panels.data());
    u.forward(panels.data(), n_panels);
    detail::from_panels(panels.data(), width, v);
    double coarse_norm = 0.0, fine_norm = 0.0;
    for (Index i = 0; i < n_; ++i) {
        double& sum = i < n_coarse ? coarse_norm : fine_norm;
        for (Index q = 0; q < m_; ++q) {
            sum += square(v(i, q));
        }
    }
    norm_ = coarse_norm + fine_norm;
    if (norm_ == 0.0) {
        return 0.0;
    }
    double loss = share * fine_norm / norm_;

    // z of the first subset: V_c solved against the leading block.
    std::vector<double> z(size(n_ * m_));
    u.backward(panels.data(), n_panels, n_coarse);
    detail::from_panels(panels.data(), width, {z.data(), n_, m_});
    for (Index i = 0; i < n_coarse; ++i) {
        for (Index q = 0; q < m_; ++q) {
            left(i, m_ + q) = -share * z[size(i * m_ + q)];
            right(i, m_ + q) = z[size(i * m_ + q)];
        }
    }

    // Further subsets are factored on their own.
    for (Index h = 1; h < n_halves; ++h) {
        const Index* rows = further + (h - 1) * n_coarse;
        detail::Cholesky& a = w_->coarse;
        a.resize(n_coarse);
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
        std::vector<double> subset(size(n_coarse * m_));
        for (Index i = 0; i < n_coarse; ++i) {
            std::copy_n(y.data() + rows[i] * m_, m_, subset.data() + i * m_);
        }
        const MatrixView<double> s(subset.data(), n_coarse, m_);
        panels.resize(size(a.elements_of(m_)));
        detail::to_panels(s, width, panels.data());
        a.forward(panels.data(), n_panels);
        detail::from_panels(panels.data(), width, s);
        double subset_norm = 0.0;
        for (double value : subset) {
            subset_norm += square(value);
        }
        loss += share * std::clamp(1.0 - subset_norm / norm_, 0.0, 1.0);
        a.backward(panels.data(), n_panels, n_coarse);
        detail::from_panels(panels.data(), width, s);
        for (Index i = 0; i < n_coarse; ++i) {
            for (Index q = 0; q < m_; ++q) {
                left(rows[i], m_ * (h + 1) + q) = -share * s(i, q);
                right(rows[i], m_ * (h + 1) + q) = s(i, q);
            }
        }
    }

    panels.resize(size(u.elements_of(m_)));
    detail::to_panels(v, width, panels.data());
    u.backward(panels.data(), n_panels, n_);
    detail::from_panels(panels.data(), width, v);
    for (Index i = 0; i < n_; ++i) {
        for (Index q = 0; q < m_; ++q) {
            left(i, q) = (1.0 - loss) * v(i, q);
            right(i, q) = v(i, q);
        }
    }
    return loss;
}

void Batch::gradient(MatrixView<double> out, int n_threads) {
    if (norm_ == 0.0) {
        for (Index i = 0; i < n_; ++i) {
            std::fill(out.row(i), out.row(i) + out.cols, 0.0);
        }
        return;
    }
    const auto& routines = detail::simd().f64;
    const int team =
        detail::team_for(static_cast<double>(n_ * n_) * static_cast<double>(d_ + rank_), n_threads);
    // d rho / dx_i = -(2/D) sum_j W_ij (x_i - x_j), W = M o 2 dk/d(r^2). The scale and the sum over
    // j of the first term go into W, so that one product gives the gradient.
    const double scale = 4.0 / norm_;
    const Index width = w_->factor.width(), n_panels = w_->factor.panels_of(n_);
    const std::vector<double> nothing(size(std::max(d_, rank_)), 0.0);
    detail::RowGroups<double> left, coordinates;
    left.set({left_.data(), n_, rank_});
    coordinates.set_transposed({points_.data(), n_, out.cols, d_});
    struct Scratch {
        detail::AlignedVector<double> right, norms, product;
    };
    std::vector<Scratch> scratch(size(std::max(team, 1)));
    detail::parallel_for(n_panels, team, [&](Index p, int worker) {
        Scratch& mine = scratch[size(worker)];
        mine.right.resize(size(std::max(rank_, out.cols) * width));
        mine.norms.resize(size(width));
        mine.product.resize(size(n_ * width));
        const Index columns = std::min(width, n_ - p * width);
        routines.pack({right_.data() + p * width * rank_, columns, rank_}, nothing.data(),
                      mine.right.data(), mine.norms.data());
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

void Batch::solve(MatrixView<double> b, int n_threads) {
    const detail::Cholesky& u = w_->factor;
    const int team =
        detail::team_for(static_cast<double>(n_ * n_) * static_cast<double>(b.cols), n_threads);
    w_->rhs.resize(size(u.elements_of(b.cols)));
    detail::to_panels(b, u.width(), w_->rhs.data());
    detail::parallel_for(u.panels_of(b.cols), team, [&](Index p, int) {
        double* panel = w_->rhs.data() + p * n_ * u.width();
        u.forward(panel, 1);
        u.backward(panel, 1, n_);
    });
    detail::from_panels(w_->rhs.data(), u.width(), b);
}

}  // namespace kflow
