#pragma once

#include <string>
#include <vector>

#include "kflow/profile.hpp"
#include "model/archive.hpp"
#include "model/block.hpp"

namespace kflow::model {

/// The kernel that settings describe, for points of type T.
template <class T>
Profile read_kernel(const Json& settings);

/// Throws std::invalid_argument if a number is not finite, or so large that squared distances
/// overflow.
template <class T>
void check_points(MatrixView<const T> x);

/// The map F_n of a flow, in the precision of its points.
template <class T>
class Flow {
   public:
    Flow() = default;
    Flow(const Archive& archive, const Json& settings);

    Index n_features() const { return n_features_; }
    Index n_layers() const { return n_layers_; }
    bool has_subspace() const { return rank_ > 0; }

    /// Coordinates of a point after all layers.
    Index n_coordinates() const { return n_coordinates_; }

    /// The coordinates (n, n_coordinates) of scaled points x (n, n_features) after all layers.
    std::vector<T> moved(MatrixView<const T> x, int n_threads) const;

   private:
    void read_blocks(const Archive& archive, const Json& settings);
    std::vector<T> first_coordinates(MatrixView<const T> x, int n_threads) const;

    Profile profile_;
    Index n_features_ = 0, n_layers_ = 0, n_coordinates_ = 0;
    Index rank_ = 0;                  // of the subspace; 0 without one
    std::vector<double> basis_;       // (n_features, rank)
    std::vector<double> transposed_;  // (rank, n_features)
    std::vector<Block<T>> blocks_;    // in order; the last may have a rotation and no layers
};

}  // namespace kflow::model
