#include "core/kernel_operator.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace kflow::detail {
namespace {

// Kernel values per tile: half of a common second-level cache of 1 MiB, in single precision.
constexpr Index kTileElements = 128 * 1024;

// Size of r^2, relative to |x|^2 + |z|^2, under which a pair counts as close.
template <class T>
T close_pair_tolerance() {
    return static_cast<T>(std::pow(static_cast<double>(std::numeric_limits<T>::epsilon()), 0.4));
}

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

}  // namespace

template <class T>
void KernelOperator<T>::prepare(MatrixView<const T> z, MatrixView<const T> c,
                                const Kernel& kernel) {
    kernel_ = kernel;
    m_ = z.rows;
    d_ = z.cols;
    q_ = c.cols;
    direct_ = d_ <= kDirectDimension && q_ <= kDirectDimension;
    const Index m_padded = padded(m_);

    shift_.assign(size(d_), T(0));
    if (!direct_) {
        for (Index k = 0; k < d_; ++k) {
            double sum = 0.0;
            for (Index j = 0; j < m_; ++j) {
                sum += static_cast<double>(z(j, k));
            }
            shift_[size(k)] = m_ > 0 ? static_cast<T>(sum / static_cast<double>(m_)) : T(0);
        }
        z_.resize(size(m_ * d_));
        norms_.resize(size(m_));
        largest_norm_ = 0;
        for (Index j = 0; j < m_; ++j) {
            norms_[size(j)] =
                simd().get<T>().centre(z.row(j), shift_.data(), z_.data() + j * d_, d_);
            largest_norm_ = std::max(largest_norm_, norms_[size(j)]);
        }
    }
    if (direct_) {
        zt_.assign(size(d_ * m_padded), T(0));
        ct_.assign(size(q_ * m_padded), T(0));
        for (Index j = 0; j < m_; ++j) {
            for (Index k = 0; k < d_; ++k) {
                zt_[size(k * m_padded + j)] = z(j, k);
            }
            for (Index p = 0; p < q_; ++p) {
                ct_[size(p * m_padded + j)] = c(j, p);
            }
        }
    } else {
        z_factor_.set_transposed({z_.data(), m_, d_});
        c_factor_.set(c);
    }
}

template <class T>
Index KernelOperator<T>::tile_rows() const {
    const Index rows = kTileElements / std::max<Index>(m_, 1);
    return std::clamp<Index>(rows / 48 * 48, 48, 480);  // whole blocks of the gemm
}

template <class T>
bool KernelOperator<T>::cancellation_matters(T x_norm) const {
    // In units of the squared length scale; k changes by less than the error of r^2.
    constexpr double kHarmless = 1e-5;
    const double error = std::numeric_limits<T>::epsilon() * (x_norm + largest_norm_) /
                         (kernel_.length_scale * kernel_.length_scale);
    return kernel_.family == Family::laplacian || error > kHarmless;
}

template <class T>
void KernelOperator<T>::sum_close_pairs_directly(const T* x, T x_norm, T* r2) const {
    const T tolerance = close_pair_tolerance<T>();
    for (Index j = 0; j < m_; ++j) {
        if (r2[j] < tolerance * (x_norm + norms_[size(j)])) {
            T sum = 0;
            for (Index k = 0; k < d_; ++k) {
                const T difference = x[k] - z_[size(j * d_ + k)];
                sum += difference * difference;
            }
            r2[j] = sum;
        }
    }
}

// k (rows, m) = K(x, z)
template <class T>
void KernelOperator<T>::tile_by_gemm(MatrixView<const T> x, MatrixView<T> k, T* scratch) const {
    const SimdRoutines<T>& routines = simd().get<T>();
    const MatrixView<T> centred(scratch, x.rows, d_);
    T* x_norms = scratch + x.rows * d_;
    for (Index i = 0; i < x.rows; ++i) {
        x_norms[i] = routines.centre(x.row(i), shift_.data(), centred.row(i), d_);
    }
    z_factor_.multiply(centred, k);
    for (Index i = 0; i < x.rows; ++i) {
        if (cancellation_matters(x_norms[i])) {
            if (routines.distances_of_products(k.row(i), x_norms[i], norms_.data(),
                                               close_pair_tolerance<T>(), m_)) {
                sum_close_pairs_directly(centred.row(i), x_norms[i], k.row(i));
            }
            routines.profile(kernel_, k.row(i), m_);
        } else {
            routines.profile_of_products(kernel_, k.row(i), x_norms[i], norms_.data(), m_);
        }
    }
}

template <class T>
void KernelOperator<T>::apply(MatrixView<const T> x, MatrixView<T> out, T* scratch) const {
    const SimdRoutines<T>& routines = simd().get<T>();
    if (direct_) {
        routines.direct_apply(kernel_, x, zt_.data(), ct_.data(), padded(m_), q_, out, scratch);
        return;
    }
    const MatrixView<T> k(scratch + gram_scratch(x.rows), x.rows, m_);
    tile_by_gemm(x, k, scratch);
    c_factor_.multiply(k, out);
}

template <class T>
void KernelOperator<T>::gram(MatrixView<const T> x, MatrixView<T> out, T* scratch) const {
    if (!direct_) {
        tile_by_gemm(x, out, scratch);
        return;
    }
    const SimdRoutines<T>& routines = simd().get<T>();
    for (Index i = 0; i < x.rows; ++i) {
        routines.direct_distances(x.row(i), d_, zt_.data(), padded(m_), scratch);
        routines.profile(kernel_, scratch, padded(m_));
        std::copy(scratch, scratch + m_, out.row(i));
    }
}

template class KernelOperator<float>;
template class KernelOperator<double>;

}  // namespace kflow::detail
