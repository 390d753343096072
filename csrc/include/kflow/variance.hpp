#pragma once

#include <memory>

#include "kflow/matrix_view.hpp"
#include "kflow/profile.hpp"

namespace kflow {

namespace detail {
struct VariancePlan;
}

/// What the posterior variance of one component is made of. With its kernel
///   k(x, z) = amplitude k_0(sum_k rates(k) (x_k - z_k)^2) + linear x.z,
/// the lower triangular factor L of the matrix of k at the centres, and f(x) = L^-1 k(centres, x),
///   scale (max(k(x, x) - |f|^2, 0) + nugget),
/// and with `inner`, another lower triangular factor M, scale nugget |M^-1 f|^2 more.
struct VarianceParts {
    Family family = Family::gaussian;  ///< of k_0, a function of squared distances
    MatrixView<const double> centres;  ///< (M, d)
    MatrixView<const double> rates;    ///< (1, d), positive
    double amplitude = 1.0, linear = 0.0, nugget = 0.0, scale = 1.0;
    MatrixView<const double> factor;  ///< (M, M), of which the lower triangle is read
    MatrixView<const double> inner;   ///< (M, M), or a null view
};

/// A posterior variance, prepared once. A row of a result depends on its point alone, to the last
/// bit. Cost of a row: M profiles and M (M / 2 + d) multiply-adds, and M^2 / 2 more with `inner`.
/// For fewer than a panel of points it is that of reading the factors.
class PosteriorVariance {
   public:
    /// Copies the parts, for the instruction set in use. Throws std::invalid_argument if they do
    /// not fit each other.
    explicit PosteriorVariance(const VarianceParts& parts);

    Index n_dimensions() const;

    /// out (n, 1) = the variances at x (n, d). Throws std::logic_error with another instruction set
    /// than that of the preparation, if its registers are of another length.
    void operator()(MatrixView<const double> x, MatrixView<double> out, int n_threads) const;

   private:
    std::shared_ptr<const detail::VariancePlan> plan_;
};

}  // namespace kflow
