#pragma once

#include <cstddef>

namespace kflow {

using Index = std::ptrdiff_t;

/// A row-major matrix that somebody else owns; rows lie `stride` elements apart.
template <class T>
struct MatrixView {
    T* data = nullptr;
    Index rows = 0;
    Index cols = 0;
    Index stride = 0;

    MatrixView() = default;
    MatrixView(T* data_, Index rows_, Index cols_) : MatrixView(data_, rows_, cols_, cols_) {}
    MatrixView(T* data_, Index rows_, Index cols_, Index stride_)
        : data(data_), rows(rows_), cols(cols_), stride(stride_) {}

    // Always inlined: the copy that a file compiled for AVX leaves behind may be the one that the
    // linker keeps for all.
    [[gnu::always_inline]] T* row(Index i) const { return data + i * stride; }
    [[gnu::always_inline]] T& operator()(Index i, Index j) const { return data[i * stride + j]; }

    operator MatrixView<const T>() const { return {data, rows, cols, stride}; }
};

}  // namespace kflow
