#include "core/kernel_operator.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace kflow::detail {
namespace {

// A tile may fill this much of the second-level cache. It has at least kFewest panels, because all
// centres are read from the third-level cache once for each tile, and at most kMost.
constexpr Index kTileBytes = 640 * 1024, kFewest = 4, kMost = 16;

// With at least this many tiles, threads share the work evenly.
constexpr Index kTiles = 16;

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

Index panels_of(Index rows, Index panel) { return (rows + panel - 1) / panel; }

// The largest |x|^2 for which cancellation in r^2 changes k by less than `harmless`; negative if it
// always matters.
double largest_harmless_norm(const Profile& profile, double epsilon, double largest_centre) {
    if (traits(profile.family).at_zero == AtZero::steep) {
        return -1.0;
    }
    constexpr double harmless = 1e-5;
    return harmless / epsilon * profile.length_scale * profile.length_scale - largest_centre;
}

}  // namespace

template <class T>
void KernelOperator<T>::prepare(MatrixView<const T> z, MatrixView<const T> c,
                                const Profile& profile) {
    profile_ = profile;
    m_ = z.rows;
    d_ = z.cols;
    q_ = c.cols;
    const bool direct = d_ <= kDirectDimension;
    fused_ = d_ == q_ && d_ >= 1 && d_ <= kFusedDimension;
    shift_.assign(size(d_), T(0));
    if (fused_) {
        z_and_c_.resize(size(2 * d_ * m_));
        for (Index j = 0; j < m_; ++j) {
            T* both = z_and_c_.data() + 2 * d_ * j;
            std::copy(z.row(j), z.row(j) + d_, both);
            std::copy(c.row(j), c.row(j) + d_, both + d_);
        }
        return;
    }
    norms_.assign(size(m_), T(0));
    T largest_norm = 0;
    if (direct) {
        z_.set(z);
    } else {
        for (Index k = 0; k < d_; ++k) {
            double sum = 0.0;
            for (Index j = 0; j < m_; ++j) {
                sum += static_cast<double>(z(j, k));
            }
            shift_[size(k)] = m_ > 0 ? static_cast<T>(sum / static_cast<double>(m_)) : T(0);
        }
        std::vector<T> centred(size(m_ * d_));
        for (Index j = 0; j < m_; ++j) {
            norms_[size(j)] =
                simd().get<T>().centre(z.row(j), shift_.data(), centred.data() + j * d_, d_);
            largest_norm = std::max(largest_norm, norms_[size(j)]);
        }
        z_.set({centred.data(), m_, d_});
    }
    c_.set_transposed(c);
    constexpr double epsilon = std::numeric_limits<T>::epsilon();
    centres_ = {z_.data(),
                norms_.data(),
                m_,
                d_,
                direct,
                static_cast<T>(largest_harmless_norm(profile, epsilon, largest_norm)),
                static_cast<T>(std::pow(epsilon, 0.4))};
}

template <class T>
Index KernelOperator<T>::tile_rows(Index n) const {
    const Index panel = simd().get<T>().panel;
    const Index bytes = panel * (std::max(d_, q_) + (fused_ ? 0 : m_)) * Index(sizeof(T));
    const Index most = std::clamp<Index>(kTileBytes / std::max<Index>(bytes, 1), kFewest, kMost);
    return panel * std::clamp<Index>(panels_of(n, panel) / kTiles, 1, most);
}

template <class T>
Index KernelOperator<T>::scratch(Index rows) const {
    const Index panel = simd().get<T>().panel;
    return panels_of(rows, panel) * panel * (std::max(d_, q_) + 1 + (fused_ ? 0 : m_));
}

template <class T>
Index KernelOperator<T>::panels_scratch(Index rows) const {
    const Index panel = simd().get<T>().panel;
    return panels_of(rows, panel) * panel * (d_ + 1);
}

template <class T>
void KernelOperator<T>::apply(MatrixView<const T> x, MatrixView<T> out, T* scratch) const {
    const SimdRoutines<T>& routines = simd().get<T>();
    const Index n_panels = panels_of(x.rows, routines.panel);
    const Index lanes = n_panels * routines.panel;
    T* norms = scratch;
    T* points = norms + lanes;  // and later the result
    T* k = points + lanes * std::max(d_, q_);
    routines.pack(x, shift_.data(), points, norms);
    if (fused_) {
        routines.fused(profile_, z_and_c_.data(), m_, d_, points, n_panels, points);
    } else {
        routines.kernel_panels(profile_, centres_, points, norms, n_panels, k);
        c_.multiply(k, n_panels, points);
    }
    routines.unpack(points, out);
}

template <class T>
void KernelOperator<T>::gram(MatrixView<const T> x, MatrixView<T> out, T* scratch) const {
    const Index panel = simd().get<T>().panel;
    T* k = scratch + panels_of(x.rows, panel) * panel * (std::max(d_, q_) + 1);
    panels(x, k, scratch);
    simd().get<T>().unpack(k, out);
}

template <class T>
void KernelOperator<T>::panels(MatrixView<const T> x, T* out, T* scratch) const {
    const SimdRoutines<T>& routines = simd().get<T>();
    const Index n_panels = panels_of(x.rows, routines.panel);
    T* norms = scratch;
    T* points = norms + n_panels * routines.panel;
    routines.pack(x, shift_.data(), points, norms);
    routines.kernel_panels(profile_, centres_, points, norms, n_panels, out);
}

template class KernelOperator<float>;
template class KernelOperator<double>;

}  // namespace kflow::detail
