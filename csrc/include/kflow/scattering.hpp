#pragma once

#include <memory>
#include <vector>

#include "kflow/matrix_view.hpp"

namespace kflow {

namespace detail {
template <class T>
struct ScatteringPlan;
}

/// What a scattering transform is made of. Images are padded to rows x cols pixels, continued
/// periodically. At level l, 0 <= l < n_scales, maps have rows / 2^l x cols / 2^l elements; both
/// sides must be multiples of 2^n_scales.
template <class T>
struct ScatteringFilters {
    Index height, width;          ///< of an image
    Index rows, cols;             ///< of a padded image
    std::vector<Index> row_of;    ///< row_of[r] is the row of the image at row r of the padded one,
    std::vector<Index> col_of;    ///< -1 for zeros; col_of likewise
    Index n_scales, n_angles;     ///< J and L
    Index max_order;              ///< 1 or 2
    Index out_height, out_width;  ///< of a smoothed map

    /// waves[l]: the real spectra of the wavelets of scales j = (l == 0 ? 0 : l + 1) ... J - 1 and
    /// all angles, one after the other, at level l, divided by the number of elements at that
    /// level.
    std::vector<std::vector<T>> waves;

    /// The smoothing of a map of level l, followed by taking every 2^(J - l)-th element, is
    /// smooth_rows[l] U smooth_cols[l]', with matrices of out_height and out_width rows.
    std::vector<std::vector<T>> smooth_rows, smooth_cols;
};

/// Wavelet scattering of images: x -> (S0, S1, S2) with S0 = smooth(x), S1 = smooth(|x * psi_1|)
/// and S2 = smooth(||x * psi_1| * psi_2|) for wavelets psi_2 of larger scales than psi_1. Sources:
/// S. Mallat, Group invariant scattering, Comm. Pure Appl. Math. 65 (2012); J. Bruna and S. Mallat,
/// Invariant scattering convolution networks, IEEE Trans. PAMI 35 (2013).
template <class T>
class Scattering {
   public:
    /// Throws std::invalid_argument if the parts do not fit each other.
    explicit Scattering(ScatteringFilters<T> filters);

    /// The maps of one image: 1 + J L + J (J - 1) / 2 L^2 for two orders.
    Index n_channels() const;

    const ScatteringFilters<T>& filters() const;

    /// out (n, n_channels out_height out_width) from images (n, height width). S1 is ordered by
    /// scale, then angle; S2 by those of its first wavelet, then of its second one. A row depends
    /// on its image alone, to the last bit.
    void transform(MatrixView<const T> images, MatrixView<T> out, int n_threads) const;

    /// out (n, height width): the gradient of sum_i covectors[i] . transform(images)[i] by images.
    /// A modulus has the derivative 0 where it is 0.
    void pull_back(MatrixView<const T> images, MatrixView<const T> covectors, MatrixView<T> out,
                   int n_threads) const;

   private:
    std::shared_ptr<const detail::ScatteringPlan<T>> plan_;
};

}  // namespace kflow
