#include "core/rho.hpp"

#include <algorithm>
#include <cmath>

namespace kflow::detail {
namespace {

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

double square(double x) { return x * x; }

}  // namespace

void scale_below_one(double* x, Index n) {
    double largest = 0.0;
    for (Index i = 0; i < n; ++i) {
        largest = std::max(largest, std::abs(x[i]));
    }
    int exponent = 0;
    std::frexp(largest, &exponent);
    for (Index i = 0; i < n; ++i) {
        x[i] = std::ldexp(x[i], -exponent);
    }
}

double Rho::evaluate(const Cholesky& u, MatrixView<double> v, Index n_coarse, const Index* further,
                     Index n_halves, const FactorSubset& factor_subset) {
    const Index m = v.cols;
    const double share = 1.0 / static_cast<double>(n_halves);
    n_ = v.rows;
    rank_ = m * (n_halves + 1);
    left_.assign(size(n_ * rank_), 0.0);
    right_.assign(size(n_ * rank_), 0.0);
    const MatrixView<double> left(left_.data(), n_, rank_), right(right_.data(), n_, rank_);

    // rho does not change with the scale of the targets, but their squares overflow.
    scale_below_one(v.data, n_ * m);
    const Index width = u.width(), n_panels = u.panels_of(m);
    panels_.resize(size(u.elements_of(m)));
    const std::vector<double> y(v.data, v.data + n_ * m);
    to_panels(v, width, panels_.data());
    u.forward(panels_.data(), n_panels);
    from_panels(panels_.data(), width, v);
    double coarse_norm = 0.0, fine_norm = 0.0;
    for (Index i = 0; i < n_; ++i) {
        double& sum = i < n_coarse ? coarse_norm : fine_norm;
        for (Index q = 0; q < m; ++q) {
            sum += square(v(i, q));
        }
    }
    norm_ = coarse_norm + fine_norm;
    if (norm_ == 0.0) {
        return 0.0;
    }
    double loss = share * fine_norm / norm_;

    // z of the first subset: V_c solved against the leading block.
    std::vector<double> z(size(n_ * m));
    u.backward(panels_.data(), n_panels, n_coarse);
    from_panels(panels_.data(), width, {z.data(), n_, m});
    for (Index i = 0; i < n_coarse; ++i) {
        for (Index q = 0; q < m; ++q) {
            left(i, m + q) = -share * z[size(i * m + q)];
            right(i, m + q) = z[size(i * m + q)];
        }
    }

    for (Index h = 1; h < n_halves; ++h) {
        const Index* rows = further + (h - 1) * n_coarse;
        factor_subset(rows, coarse_);
        std::vector<double> subset(size(n_coarse * m));
        for (Index i = 0; i < n_coarse; ++i) {
            std::copy_n(y.data() + rows[i] * m, m, subset.data() + i * m);
        }
        const MatrixView<double> s(subset.data(), n_coarse, m);
        panels_.resize(size(coarse_.elements_of(m)));
        to_panels(s, width, panels_.data());
        coarse_.forward(panels_.data(), n_panels);
        from_panels(panels_.data(), width, s);
        double subset_norm = 0.0;
        for (double value : subset) {
            subset_norm += square(value);
        }
        loss += share * std::clamp(1.0 - subset_norm / norm_, 0.0, 1.0);
        coarse_.backward(panels_.data(), n_panels, n_coarse);
        from_panels(panels_.data(), width, s);
        for (Index i = 0; i < n_coarse; ++i) {
            for (Index q = 0; q < m; ++q) {
                left(rows[i], m * (h + 1) + q) = -share * s(i, q);
                right(rows[i], m * (h + 1) + q) = s(i, q);
            }
        }
    }

    panels_.resize(size(u.elements_of(m)));
    to_panels(v, width, panels_.data());
    u.backward(panels_.data(), n_panels, n_);
    from_panels(panels_.data(), width, v);
    for (Index i = 0; i < n_; ++i) {
        for (Index q = 0; q < m; ++q) {
            left(i, q) = (1.0 - loss) * v(i, q);
            right(i, q) = v(i, q);
        }
    }
    return loss;
}

}  // namespace kflow::detail
