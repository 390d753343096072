#include "kflow/replay.hpp"

#include <algorithm>

#include "core/aligned.hpp"
#include "core/kernel_operator.hpp"
#include "core/parallel.hpp"

namespace kflow {
namespace {

// The size of the packed layers that a tile goes through together: they stay in the third-level
// cache.
constexpr Index kGroupBytes = 8 * 1024 * 1024;

template <class T>
Index bytes_of(const Layer<T>& layer) {
    return layer.z.rows * (layer.z.cols + layer.c.cols) * Index(sizeof(T));
}

template <class T>
void replay_group(MatrixView<T> points, const Layer<T>* layers, Index n_layers,
                  const Profile& profile, int n_threads) {
    std::vector<detail::KernelOperator<T>> operators(static_cast<std::size_t>(n_layers));
    double packed = 0.0, work = 0.0;
    for (Index l = 0; l < n_layers; ++l) {
        const auto numbers =
            static_cast<double>(layers[l].z.rows * (layers[l].z.cols + layers[l].c.cols));
        packed += numbers;
        work += static_cast<double>(points.rows) *
                (numbers + detail::kProfileWork * static_cast<double>(layers[l].z.rows));
    }
    detail::parallel_for(n_layers, detail::team_for(packed, n_threads), [&](Index l, int) {
        operators[static_cast<std::size_t>(l)].prepare(layers[l].z, layers[l].c, profile);
    });
    Index tile_rows = operators.front().tile_rows(points.rows), scratch_size = 0, widest = 0;
    for (const auto& op : operators) {
        tile_rows = std::min(tile_rows, op.tile_rows(points.rows));
    }
    for (Index l = 0; l < n_layers; ++l) {
        scratch_size =
            std::max(scratch_size, operators[static_cast<std::size_t>(l)].scratch(tile_rows));
        widest = std::max(widest, layers[l].c.cols);
    }
    const Index n_tiles = (points.rows + tile_rows - 1) / tile_rows;
    const auto& routines = detail::simd().get<T>();
    const int team = detail::team_for(work, n_threads);
    auto scratch = detail::scratch_of<T>(team, scratch_size + tile_rows * widest);
    detail::parallel_for(n_tiles, team, [&](Index t, int worker) {
        const Index first = t * tile_rows;
        const Index rows = std::min(tile_rows, points.rows - first);
        detail::AlignedVector<T>& mine = scratch[static_cast<std::size_t>(worker)];
        mine.resize(static_cast<std::size_t>(scratch_size + tile_rows * widest));
        for (Index l = 0; l < n_layers; ++l) {
            if (layers[l].step == 0.0) {
                continue;
            }
            const Index q = layers[l].c.cols;
            const MatrixView<T> moved(mine.data() + scratch_size, rows, q);
            operators[static_cast<std::size_t>(l)].apply(
                {points.row(first), rows, points.cols, points.stride}, moved, mine.data());
            for (Index i = 0; i < rows; ++i) {
                T* x = points.row(first + i);
                routines.add_scaled(x, moved.row(i), static_cast<T>(layers[l].step), x, q);
            }
        }
    });
}

}  // namespace

template <class T>
void replay(MatrixView<T> points, const std::vector<Layer<T>>& layers, const Profile& profile,
            int n_threads) {
    const auto n_layers = static_cast<Index>(layers.size());
    for (Index first = 0; first < n_layers;) {
        Index last = first, bytes = 0;
        do {
            bytes += bytes_of(layers[static_cast<std::size_t>(last++)]);
        } while (last < n_layers &&
                 bytes + bytes_of(layers[static_cast<std::size_t>(last)]) <= kGroupBytes);
        replay_group(points, layers.data() + first, last - first, profile, n_threads);
        first = last;
    }
}

template void replay(MatrixView<float>, const std::vector<Layer<float>>&, const Profile&, int);
template void replay(MatrixView<double>, const std::vector<Layer<double>>&, const Profile&, int);

}  // namespace kflow
