#pragma once

#include <vector>

#include "core/simd_table.hpp"
#include "kflow/matrix_view.hpp"

namespace kflow::detail {

/// The left factor a (rows, inner) of products with panels, packed once and used from many threads.
/// Rows lie in groups, each group column after column: group [first, first + n) starts at
/// first * inner, with a[first + r, k] at k * n + r.
template <class T>
class RowGroups {
   public:
    void set(MatrixView<const T> a);

    /// a given by its transpose (inner, rows).
    void set_transposed(MatrixView<const T> at);

    const T* data() const { return data_.data(); }

    /// out[p] (rows, panel) = a panels[p] (inner, panel)
    void multiply(const T* panels, Index n_panels, T* out) const {
        simd().get<T>().multiply_panels(data(), rows_, inner_, panels, n_panels, out);
    }

   private:
    Index rows_ = 0, inner_ = 0;
    std::vector<T> data_;
};

}  // namespace kflow::detail
