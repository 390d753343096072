#include "core/row_groups.hpp"

namespace kflow::detail {

template <class T>
void RowGroups<T>::set(MatrixView<const T> a) {
    rows_ = a.rows;
    inner_ = a.cols;
    data_.resize(static_cast<std::size_t>(rows_ * inner_));
    for_each_group(rows_, simd().get<T>().group, [&](Index first, Index n) {
        T* group = data_.data() + first * inner_;
        for (Index r = 0; r < n; ++r) {
            const T* row = a.row(first + r);
            for (Index k = 0; k < inner_; ++k) {
                group[k * n + r] = row[k];
            }
        }
    });
}

template <class T>
void RowGroups<T>::set_transposed(MatrixView<const T> at) {
    rows_ = at.cols;
    inner_ = at.rows;
    data_.resize(static_cast<std::size_t>(rows_ * inner_));
    for_each_group(rows_, simd().get<T>().group, [&](Index first, Index n) {
        T* group = data_.data() + first * inner_;
        for (Index k = 0; k < inner_; ++k) {
            const T* row = at.row(k) + first;
            for (Index r = 0; r < n; ++r) {
                group[k * n + r] = row[r];
            }
        }
    });
}

template class RowGroups<float>;
template class RowGroups<double>;

}  // namespace kflow::detail
