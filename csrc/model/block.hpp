#pragma once

#include <string>
#include <vector>

#include "kflow/replay.hpp"
#include "model/bytes.hpp"

namespace kflow::model {

/// Layers of one shape in succession, and what comes before them; see docs/block-format.md.
template <class T>
struct Block {
    Index first = 0;  ///< the number of the first layer
    Index n_layers = 0, n_centres = 0, n_coordinates = 0, n_moving = 0;
    std::vector<T> centres;       ///< (n_layers, n_centres, n_coordinates)
    std::vector<T> coefficients;  ///< (n_layers, n_centres, n_moving)
    std::vector<double> steps;    ///< (n_layers)

    /// A rotation of the coordinates before the first layer, (n_rotated, n_rotated), or empty.
    std::vector<double> rotation;
    Index n_rotated = 0;

    std::string flow;  ///< the identity of the flow

    std::vector<Layer<T>> layers() const;
};

/// The block in a file's content, of which every byte is checked.
template <class T>
Block<T> parse_block(Bytes file);

}  // namespace kflow::model
