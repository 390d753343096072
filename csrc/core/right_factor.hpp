#pragma once

#include <vector>

#include "kflow/matrix_view.hpp"

namespace kflow::detail {

/// The right factor b of products c = a b, prepared once and used from many threads, each product
/// on one thread. The engine's own gemm reads it packed: columns [p kPadding, (p + 1) kPadding) of
/// all rows lie together, so that a block of columns is read from first to last without jumping
/// between pages. Where BLAS is faster (SimdTable::own_gemm_is_faster) it is used instead.
template <class T>
class RightFactor {
   public:
    /// b (inner, cols), which must outlive the use.
    void set(MatrixView<const T> b) { set(b, false); }

    /// b given by its transpose (cols, inner), which must outlive the use.
    void set_transposed(MatrixView<const T> bt) { set(bt, true); }

    /// c (rows, n) = a (rows, inner) times columns [first, first + n) of b; first is a multiple of
    /// kPadding.
    void multiply(MatrixView<const T> a, MatrixView<T> c, Index first = 0) const;

   private:
    void set(MatrixView<const T> source, bool transposed);

    MatrixView<const T> source_;
    bool transposed_ = false;
    bool packed_ = false;
    std::vector<T> panels_;
};

}  // namespace kflow::detail
