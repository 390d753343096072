#pragma once

#include <vector>

#include "kflow/matrix_view.hpp"
#include "model/archive.hpp"

namespace kflow::model {

/// sqrt(sum of squares), rounded as NumPy rounds it.
template <class T>
T norm(const T* x, Index n);

/// The map of points before a flow sees them: a scaling, then a linear map.
class Preprocessing {
   public:
    Preprocessing() = default;
    Preprocessing(const Archive& archive, Index n_features);

    /// x (n, d) <- its image, rounded to T where Python rounds it.
    template <class T>
    void operator()(MatrixView<T> x, int n_threads) const;

   private:
    bool unit_ = false;
    std::vector<double> mean_, scale_;  // (d), or empty
    std::vector<double> components_;    // (d, d), transposed; or empty
};

}  // namespace kflow::model
