#pragma once

#include <memory>
#include <vector>

#include "kflow/matrix_view.hpp"
#include "kflow/profile.hpp"

namespace kflow {

namespace detail {
template <class T>
struct MeansPlan;
}

/// What the posterior means of q components are made of, as functions of points in d dimensions:
///   s_c(x) = sum_j coefficients(c, j) k_c(sum_k rates(c, k) (x_k - centres(j, k))^2)
///            + sum_k linear(c, k) x_k,
/// and the m outputs offset + s(x) back that they stand for. A rate is one over the square of a
/// length scale, which k_c has not: its own is 1.
template <class T>
struct MeansParts {
    std::vector<Family> families;      ///< of k_c, functions of squared distances
    MatrixView<const T> centres;       ///< (M, d)
    MatrixView<const T> rates;         ///< (q, d), positive
    MatrixView<const T> coefficients;  ///< (q, M)
    MatrixView<const T> linear;        ///< (q, d)
    MatrixView<const T> back;          ///< (q, m)
    std::vector<T> offset;             ///< (m)
};

/// Posterior means of several components with the same centres, prepared once. Differences of
/// coordinates are shared by the components. A row of a result depends on its point alone, to the
/// last bit. Cost of a row: q M profiles and q (M d + m) multiply-adds; gradients take twice as
/// many.
template <class T>
class PosteriorMeans {
   public:
    /// Copies the parts. Throws std::invalid_argument if they do not fit each other.
    explicit PosteriorMeans(const MeansParts<T>& parts);

    Index n_dimensions() const;
    Index n_components() const;
    Index n_outputs() const;

    /// out (n, q) = s(x), for x (n, d)
    void scores(MatrixView<const T> x, MatrixView<T> out, int n_threads) const;

    /// out (n, m) = offset + s(x) back
    void outputs(MatrixView<const T> x, MatrixView<T> out, int n_threads) const;

    /// out (n, q d): the derivatives of s(x) by x, those of the first component first
    void gradients(MatrixView<const T> x, MatrixView<T> out, int n_threads) const;

   private:
    std::shared_ptr<const detail::MeansPlan<T>> plan_;
};

}  // namespace kflow
