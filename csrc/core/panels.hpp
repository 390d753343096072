#pragma once

#include <vector>

#include "core/simd_table.hpp"
#include "kflow/matrix_view.hpp"

namespace kflow::detail {

/// The right factor of the engine's own gemm: columns [p kPadding, (p + 1) kPadding) of all rows
/// lie together, so that a block of columns is read from first to last without jumping between
/// pages. Missing columns are zero.
template <class T>
class Panels {
   public:
    /// b (rows, cols)
    void pack(MatrixView<const T> b) {
        resize(b.rows, b.cols);
        for (Index k = 0; k < rows_; ++k) {
            for (Index j = 0; j < cols_; ++j) {
                at(k, j) = b(k, j);
            }
        }
    }

    /// The transpose of b (cols, rows).
    void pack_transposed(MatrixView<const T> b) {
        resize(b.cols, b.rows);
        for (Index j = 0; j < cols_; ++j) {
            for (Index k = 0; k < rows_; ++k) {
                at(k, j) = b(j, k);
            }
        }
    }

    Index rows() const { return rows_; }
    const T* data() const { return data_.data(); }

   private:
    void resize(Index rows, Index cols) {
        rows_ = rows;
        cols_ = cols;
        data_.assign(static_cast<std::size_t>(rows * padded(cols)), T(0));
    }

    T& at(Index k, Index j) {
        const Index panel = j / kPadding;
        return data_[static_cast<std::size_t>((panel * rows_ + k) * kPadding + j % kPadding)];
    }

    Index rows_ = 0, cols_ = 0;
    std::vector<T> data_;
};

}  // namespace kflow::detail
