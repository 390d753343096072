#include "kflow/batch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/kernel_operator.hpp"
#include "core/linalg.hpp"
#include "core/parallel.hpp"
#include "core/right_factor.hpp"
#include "core/simd_table.hpp"
#include "kflow/error.hpp"

namespace kflow {
namespace {

constexpr Index kRowTile = 64;      // rows of the batch's matrices that one task assembles
constexpr Index kColumnBlock = 64;  // columns of an (n, q) matrix that one task computes
static_assert(kColumnBlock % detail::kPadding == 0, "blocks of whole panels");

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

Index count(Index n, Index block) { return (n + block - 1) / block; }

double square(double x) { return x * x; }

}  // namespace

void Batch::resize(Index n, Index d, Index m) {
    n_ = n;
    d_ = d;
    m_ = m;
    points_.resize(size(n * d));
    targets_.resize(size(n * m));
    matrix_.resize(size(n * n));
    slope_.resize(size(n * n));
    norms_.resize(size(n));
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
        norms_[size(i)] = routines.centre(x.row(i), mean.data(), x.row(i), d_);
    }

    // Rows of the lower triangle: r^2 in slope_, then k in matrix_ and dk/d(r^2) in slope_.
    const Index n_tiles = count(n_, kRowTile);
    struct Sums {
        double within = 0.0, between = 0.0, n_within = 0.0, n_between = 0.0;
    };
    std::vector<Sums> sums(size(n_tiles));
    const int team = detail::team_for(
        static_cast<double>(n_ * n_) * (static_cast<double>(d_) + detail::kProfileWork), n_threads);
    const MatrixView<double> k = matrix(), s = slope();
    detail::RightFactor<double> points_transposed;
    if (d_ > detail::kDirectDimension) {
        points_transposed.set_transposed(x);
    }
    detail::parallel_for(n_tiles, team, [&](Index tile, int) {
        const Index first = tile * kRowTile;
        const Index last = std::min(first + kRowTile, n_);
        if (d_ > detail::kDirectDimension) {
            points_transposed.multiply({x.row(first), last - first, d_, d_},
                                       {s.row(first), last - first, last, n_});
        }
        for (Index i = first; i < last; ++i) {
            double* r2 = s.row(i);
            const auto direct = [&](Index j) {
                double sum = 0.0;
                for (Index c = 0; c < d_; ++c) {
                    sum += square(x(i, c) - x(j, c));
                }
                return sum;
            };
            if (d_ > detail::kDirectDimension) {
                constexpr double kClose = 1e-6;
                if (routines.distances_of_products(r2, norms_[size(i)], norms_.data(), kClose, i)) {
                    for (Index j = 0; j < i; ++j) {
                        if (r2[j] < kClose * (norms_[size(i)] + norms_[size(j)])) {
                            r2[j] = direct(j);
                        }
                    }
                }
            } else {
                for (Index j = 0; j < i; ++j) {
                    r2[j] = direct(j);
                }
            }
            if (labels != nullptr) {
                Sums& mine = sums[size(tile)];
                for (Index j = 0; j < i; ++j) {
                    if (labels[i] == labels[j]) {
                        mine.within += r2[j];
                        mine.n_within += 1.0;
                    } else {
                        mine.between += r2[j];
                        mine.n_between += 1.0;
                    }
                }
            }
            routines.profile_and_slope(kernel, r2, k.row(i), r2, i);
            k(i, i) = diagonal_;
            s(i, i) = 0.0;
        }
    });
    // The upper triangle keeps K when the factor overwrites the lower one.
    detail::parallel_for(n_tiles, team, [&](Index tile, int) {
        const Index first = tile * kRowTile;
        const Index last = std::min(first + kRowTile, n_);
        for (Index block = first; block < n_; block += kRowTile) {
            const Index end = std::min(block + kRowTile, n_);
            for (Index i = first; i < last; ++i) {
                for (Index j = std::max(block, i + 1); j < end; ++j) {
                    k(i, j) = k(j, i);
                    s(i, j) = s(j, i);
                }
            }
        }
    });

    const bool factored = detail::cholesky(k);
    double smallest = factored ? std::numeric_limits<double>::infinity() : 0.0;
    for (Index i = 0; factored && i < n_; ++i) {
        smallest = std::min(smallest, k(i, i));
    }
    // Pivots this small are rounding errors: a factor exists, but none of its digits is right.
    const double noise = static_cast<double>(n_) * std::numeric_limits<double>::epsilon();
    if (!(square(smallest) > noise * diagonal_)) {
        throw_not_positive_definite();
    }

    Sums total;
    for (const Sums& part : sums) {
        total.within += part.within;
        total.between += part.between;
        total.n_within += part.n_within;
        total.n_between += part.n_between;
    }
    return (total.within / total.n_within) / (total.between / total.n_between);
}

// Looks for the pair that explains the failure, so that the caller can name it.
void Batch::throw_not_positive_definite() const {
    for (Index i = 0; i < n_; ++i) {
        for (Index j = 0; j < i; ++j) {
            double sum = 0.0;
            for (Index c = 0; c < d_; ++c) {
                sum += square(points_[size(i * d_ + c)] - points_[size(j * d_ + c)]);
            }
            if (sum <= 1e-24 * (norms_[size(i)] + norms_[size(j)])) {
                throw NotPositiveDefinite(j, i);
            }
        }
    }
    throw NotPositiveDefinite(-1, -1);
}

double Batch::rho(Index n_coarse, const Index* further, Index n_halves) {
    const MatrixView<double> l = matrix(), v = targets();
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

    // The targets of the further subsets, before they are overwritten.
    std::vector<double> subsets(size((n_halves - 1) * n_coarse * m_));
    for (Index i = 0; i < (n_halves - 1) * n_coarse; ++i) {
        std::copy(v.row(further[i]), v.row(further[i]) + m_, subsets.data() + i * m_);
    }

    detail::solve_lower(l, v);
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
    std::vector<double> z(v.data, v.row(n_coarse));
    detail::solve_lower_transposed({l.data, n_coarse, n_coarse, n_}, {z.data(), n_coarse, m_});
    for (Index i = 0; i < n_coarse; ++i) {
        for (Index q = 0; q < m_; ++q) {
            left(i, m_ + q) = -share * z[size(i * m_ + q)];
            right(i, m_ + q) = z[size(i * m_ + q)];
        }
    }

    // Further subsets are factored on their own, from the copy of K above the diagonal.
    std::vector<double> block(size(n_halves > 1 ? n_coarse * n_coarse : 0));
    for (Index h = 1; h < n_halves; ++h) {
        const Index* rows = further + (h - 1) * n_coarse;
        const MatrixView<double> a(block.data(), n_coarse, n_coarse);
        for (Index i = 0; i < n_coarse; ++i) {
            for (Index j = 0; j < i; ++j) {
                a(i, j) = l(std::min(rows[i], rows[j]), std::max(rows[i], rows[j]));
            }
            a(i, i) = diagonal_;
        }
        if (!detail::cholesky(a)) {
            throw_not_positive_definite();
        }
        const MatrixView<double> y(subsets.data() + (h - 1) * n_coarse * m_, n_coarse, m_);
        detail::solve_lower(a, y);
        double subset_norm = 0.0;
        for (Index i = 0; i < n_coarse * m_; ++i) {
            subset_norm += square(y.data[i]);
        }
        loss += share * std::clamp(1.0 - subset_norm / norm_, 0.0, 1.0);
        detail::solve_lower_transposed(a, y);
        for (Index i = 0; i < n_coarse; ++i) {
            for (Index q = 0; q < m_; ++q) {
                left(rows[i], m_ * (h + 1) + q) = -share * y(i, q);
                right(rows[i], m_ * (h + 1) + q) = y(i, q);
            }
        }
    }

    detail::solve_lower_transposed(l, v);
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
            std::fill(out.row(i), out.row(i) + d_, 0.0);
        }
        return;
    }
    const MatrixView<double> x = points(), w = slope();
    const int team =
        detail::team_for(static_cast<double>(n_ * n_) * static_cast<double>(d_ + rank_), n_threads);
    // d rho / dx_i = -(2/D) sum_j W_ij (x_i - x_j), W = M o 2 dk/d(r^2). The scale and the sum over
    // j of the first term go into W, so that one product gives the gradient.
    const double scale = 4.0 / norm_;
    const Index n_tiles = count(n_, kRowTile);
    detail::RightFactor<double> right;
    right.set_transposed({right_.data(), n_, rank_});
    std::vector<std::vector<double>> products(size(std::max(team, 1)));
    detail::parallel_for(n_tiles, team, [&](Index tile, int worker) {
        const Index first = tile * kRowTile;
        const Index rows = std::min(kRowTile, n_ - first);
        std::vector<double>& product = products[size(worker)];
        product.resize(size(kRowTile * n_));
        right.multiply({left_.data() + first * rank_, rows, rank_}, {product.data(), rows, n_});
        for (Index i = 0; i < rows; ++i) {
            double* row = w.row(first + i);
            double sum = 0.0;
            for (Index j = 0; j < n_; ++j) {
                row[j] *= scale * product[size(i * n_ + j)];
                sum += row[j];
            }
            row[first + i] -= sum;
        }
    });
    detail::RightFactor<double> all_points;
    all_points.set(x);
    const Index n_blocks = count(d_, kColumnBlock);
    detail::parallel_for(n_blocks, team, [&](Index block, int) {
        const Index first = block * kColumnBlock;
        const Index cols = std::min(kColumnBlock, d_ - first);
        all_points.multiply(w, {out.data + first, n_, cols, out.stride}, first);
    });
}

void Batch::solve(MatrixView<double> b, int n_threads) const {
    const MatrixView<const double> l(matrix_.data(), n_, n_);
    const int team =
        detail::team_for(static_cast<double>(n_ * n_) * static_cast<double>(b.cols), n_threads);
    detail::parallel_for(count(b.cols, kColumnBlock), team, [&](Index block, int) {
        const Index first = block * kColumnBlock;
        const MatrixView<double> part(b.data + first, n_, std::min(kColumnBlock, b.cols - first),
                                      b.stride);
        detail::solve_lower(l, part);
        detail::solve_lower_transposed(l, part);
    });
}

}  // namespace kflow
