#include "core/feature_pair.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/kernel_operator.hpp"

namespace kflow::detail {
namespace {

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

}  // namespace

template <class T>
std::vector<RowGroups<T>> row_blocks(MatrixView<const T> a, bool transposed) {
    std::vector<RowGroups<T>> blocks(size((a.rows + kTileRows - 1) / kTileRows));
    for (Index b = 0; b < Index(blocks.size()); ++b) {
        const Index first = b * kTileRows;
        const MatrixView<const T> rows(a.row(first), std::min(kTileRows, a.rows - first), a.cols,
                                       a.stride);
        if (transposed) {
            blocks[size(b)].set_transposed(rows);
        } else {
            blocks[size(b)].set(rows);
        }
    }
    return blocks;
}

template <class T>
FeaturePair<T>::FeaturePair(MatrixView<const T> u, MatrixView<const T> v, bool distances)
    : d_(u.cols), n_(u.rows), width_(simd().get<T>().panel), distances_(distances) {
    const SimdRoutines<T>& routines = simd().get<T>();
    // Distances do not change, and keep their digits far from the origin.
    std::vector<T> shift(size(d_), T(0));
    for (Index k = 0; distances && k < d_; ++k) {
        double sum = 0.0;
        for (Index i = 0; i < n_; ++i) {
            sum += static_cast<double>(u(i, k));
        }
        shift[size(k)] = n_ > 0 ? static_cast<T>(sum / static_cast<double>(n_)) : T(0);
    }
    rows_.resize(size(n_ * d_));
    norms_.resize(size(n_));
    for (Index i = 0; i < n_; ++i) {
        norms_[size(i)] = routines.centre(u.row(i), shift.data(), rows_.data() + i * d_, d_);
    }
    blocks_ = row_blocks<T>({rows_.data(), n_, d_}, false);
    const Index lanes = (v.rows + width_ - 1) / width_ * width_;
    panels_.resize(size(lanes * d_));
    panel_norms_.resize(size(lanes));
    routines.pack(v, shift.data(), panels_.data(), panel_norms_.data());
}

template <class T>
void FeaturePair<T>::keep_coordinates() {
    coordinates_ = row_blocks<T>({rows_.data(), n_, d_}, true);
}

template <class T>
void FeaturePair<T>::tile(Index block, Index p, T* t) const {
    const RowGroups<T>& groups = blocks_[size(block)];
    if (!distances_) {
        groups.multiply(panel(p), 1, t);
        return;
    }
    const Index first = block * kTileRows;
    const T close = static_cast<T>(std::pow(std::numeric_limits<T>::epsilon(), T(0.4)));
    const Centres<T> centres{groups.data(),
                             norms_.data() + first,
                             std::min(kTileRows, n_ - first),
                             d_,
                             d_ <= kDirectDimension,
                             T(-1),
                             close};
    simd().get<T>().distance_panels(centres, panel(p), panel_norms_.data() + p * width_, 1, t);
}

template std::vector<RowGroups<float>> row_blocks(MatrixView<const float>, bool);
template std::vector<RowGroups<double>> row_blocks(MatrixView<const double>, bool);
template class FeaturePair<float>;
template class FeaturePair<double>;

}  // namespace kflow::detail
