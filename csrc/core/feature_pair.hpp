#pragma once

#include <vector>

#include "core/aligned.hpp"
#include "core/row_groups.hpp"
#include "core/simd_table.hpp"
#include "kflow/matrix_view.hpp"

namespace kflow::detail {

/// Rows of a tile of a kernel matrix; its columns are one panel. Some tens of kilobytes hold all
/// that one kernel needs of a tile.
constexpr Index kTileRows = 96;

/// Blocks of kTileRows rows of a matrix (n, k), the last one shorter, as left factors of products:
/// each block, or its transpose.
template <class T>
std::vector<RowGroups<T>> row_blocks(MatrixView<const T> a, bool transposed);

/// Features of the points of a kernel matrix's rows and of its columns, prepared for tiles of
/// squared distances or of scalar products.
template <class T>
class FeaturePair {
   public:
    /// u (n, D) by rows, v (m, D) by columns.
    FeaturePair(MatrixView<const T> u, MatrixView<const T> v, bool distances);

    Index dimension() const { return d_; }
    bool distances() const { return distances_; }

    /// t (rows of the block, panel) = |u - v|^2 or u.v
    void tile(Index block, Index p, T* t) const;

    /// Prepares product(). Only here is a second copy of u needed.
    void keep_coordinates();

    /// out (D, panel) = u' w, w (rows of the block, panel)
    void product(Index block, const T* w, T* out) const {
        coordinates_[static_cast<std::size_t>(block)].multiply(w, 1, out);
    }

    /// v of one panel, (D, panel), translated like u.
    const T* panel(Index p) const { return panels_.data() + p * d_ * width_; }

   private:
    Index d_, n_, width_;
    bool distances_;
    std::vector<T> rows_;                    // u, translated
    std::vector<RowGroups<T>> blocks_;       // u
    std::vector<RowGroups<T>> coordinates_;  // u'
    std::vector<T> norms_;                   // |u|^2
    AlignedVector<T> panels_, panel_norms_;
};

}  // namespace kflow::detail
