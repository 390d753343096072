#include "kflow/layer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "core/aligned.hpp"
#include "core/kernel_operator.hpp"
#include "core/parallel.hpp"
#include "core/simd_table.hpp"
#include "kflow/error.hpp"

namespace kflow {
namespace {

// A layer that moves the points by more than this many times their own size has diverged.
constexpr double kExplosion = 10.0;

constexpr Index kSettleTile = 256;

template <class T>
struct Tile {
    const MovingPoints<T>* set;
    Index first, rows;
    bool measured;
};

template <class T>
std::vector<Tile<T>> cut(const std::vector<MovingPoints<T>>& sets, Index tile_rows) {
    std::vector<Tile<T>> tiles;
    for (const MovingPoints<T>& set : sets) {
        for (Index first = 0; first < set.points.rows; first += tile_rows) {
            tiles.push_back(
                {&set, first, std::min(tile_rows, set.points.rows - first), &set == &sets.front()});
        }
    }
    return tiles;
}

template <class T>
void settle_rows(const MovingPoints<T>& set, Index first, Index rows, double pending) {
    if (pending == 0.0) {
        return;  // the displacement may hold anything
    }
    for (Index i = first; i < first + rows; ++i) {
        T* x = set.points.row(i);
        detail::simd().get<T>().add_scaled(x, set.displacement.row(i), static_cast<T>(pending), x,
                                           set.displacement.cols);
    }
}

// What the step rules measure of the points of one tile.
struct Extent {
    double min_ratio = std::numeric_limits<double>::infinity();  // of |x|^2 / |G|^2
    double max_g = 0.0, sum_x = 0.0, sum_g = 0.0;                // of squares

    void add(double x, double g) {
        if (x > 0.0 && g > 0.0) {
            min_ratio = std::min(min_ratio, x / g);
        }
        max_g = std::max(max_g, g);
        sum_x += x;
        sum_g += g;
    }

    void add(const Extent& other) {
        min_ratio = std::min(min_ratio, other.min_ratio);
        max_g = std::max(max_g, other.max_g);
        sum_x += other.sum_x;
        sum_g += other.sum_g;
    }
};

double step_of(StepRule rule, double size, const Extent& extent) {
    if (extent.sum_g == 0.0) {
        return 0.0;
    }
    switch (rule) {
        case StepRule::relative:
            return std::isinf(extent.min_ratio) ? 0.0 : size * std::sqrt(extent.min_ratio);
        case StepRule::rms:
            return size * std::sqrt(extent.sum_x / extent.sum_g);
        case StepRule::absolute:
            return size / std::sqrt(extent.max_g);
        case StepRule::fixed:
            break;
    }
    return size;
}

template <class T>
void gather(const MovingPoints<T>& set, double pending, const Index* rows, Index n,
            MatrixView<T> out) {
    for (Index i = 0; i < n; ++i) {
        const T* x = set.points.row(rows[i]);
        std::copy(x, x + set.points.cols, out.row(i));
        if (pending != 0.0) {
            detail::simd().get<T>().add_scaled(x, set.displacement.row(rows[i]),
                                               static_cast<T>(pending), out.row(i),
                                               set.displacement.cols);
        }
    }
}

// Scales rows that are longer than `cap` times the median length down to that length.
void shorten_long_rows(MatrixView<double> g, double cap) {
    if (std::isinf(cap)) {
        return;
    }
    std::vector<double> squares;
    for (Index i = 0; i < g.rows; ++i) {
        squares.push_back(detail::simd().f64.dot(g.row(i), g.row(i), g.cols));
    }
    std::vector<double> sorted = squares;
    const auto middle = sorted.begin() + g.rows / 2;
    std::nth_element(sorted.begin(), middle, sorted.end());
    const double limit = cap * std::sqrt(*middle);
    for (Index i = 0; limit > 0.0 && i < g.rows; ++i) {
        const double length = std::sqrt(squares[static_cast<std::size_t>(i)]);
        for (Index k = 0; length > limit && k < g.cols; ++k) {
            g(i, k) *= limit / length;
        }
    }
}

}  // namespace

template <class T>
void settle(MovingPoints<T> set, double pending, int n_threads) {
    const Index n_tiles = (set.points.rows + kSettleTile - 1) / kSettleTile;
    // A pass through memory: each element costs as much as several multiply-adds.
    const double work = 8.0 * static_cast<double>(set.points.rows * set.displacement.cols);
    detail::parallel_for(n_tiles, detail::team_for(work, n_threads), [&](Index t, int) {
        const Index first = t * kSettleTile;
        settle_rows(set, first, std::min(kSettleTile, set.points.rows - first), pending);
    });
}

namespace {

LayerReport measured(LayerReport report, const LayerOptions& options, const Extent& extent) {
    report.step = step_of(options.rule, options.step_size, extent);
    report.relative_displacement =
        extent.sum_x > 0.0 ? report.step * std::sqrt(extent.sum_g / extent.sum_x) : 0.0;
    report.finite =
        std::isfinite(report.rho) && std::isfinite(extent.sum_g) && std::isfinite(extent.sum_x);
    return report;
}

template <class T>
bool all_finite(MatrixView<T> x) {
    const bool is_whole = x.stride == x.cols;  // then one call does for all rows
    const Index n_calls = is_whole ? 1 : x.rows, n = is_whole ? x.rows * x.cols : x.cols;
    bool finite = true;
    for (Index i = 0; i < n_calls; ++i) {
        finite = finite && detail::simd().get<T>().all_finite(x.row(i), n, T(1));
    }
    return finite;
}

// The step and the coefficients c are stored and applied in the precision T of the points: there,
// too, they must be finite.
template <class T>
void refuse_divergence(const LayerReport& report, MatrixView<T> c) {
    constexpr const char* remedy = ": pass a smaller step_size or a larger nugget";
    if (!report.finite || !all_finite(c)) {
        throw Diverged(std::string("a value is no longer finite") + remedy);
    }
    if (report.relative_displacement > kExplosion) {
        throw Diverged("one layer would move the points by " +
                       std::to_string(report.relative_displacement) + " times their rms norm" +
                       remedy);
    }
    if (!std::isfinite(static_cast<T>(report.step))) {
        throw Diverged(
            "the step is too large for the precision of the points, because the loss hardly "
            "depends on them: pass a larger length scale");
    }
}

// Does what batch_layer() does, but does not throw Diverged.
template <class T>
LayerReport descend(MatrixView<const T> z, MatrixView<const double> y, const int* labels,
                    const Index* further_halves, const LayerOptions& options, MatrixView<T> c,
                    Batch& workspace, int n_threads) {
    const Index n_batch = z.rows, d = z.cols, q = c.cols, m = y.cols;
    LayerReport report;
    workspace.resize(n_batch, d, m);
    for (Index i = 0; i < n_batch; ++i) {
        std::copy(z.row(i), z.row(i) + d, workspace.points().row(i));
        std::copy(y.row(i), y.row(i) + m, workspace.targets().row(i));
    }
    report.class_distance_ratio =
        workspace.factor(options.profile, options.nugget, labels, n_threads);
    report.rho = workspace.rho(options.n_coarse, further_halves, options.n_halves, n_threads);

    // Descent: C = A^-1 (-d rho / dz), in the coordinates that move.
    std::vector<double> descent(static_cast<std::size_t>(n_batch * q));
    const MatrixView<double> g(descent.data(), n_batch, q);
    workspace.gradient(g, n_threads);
    for (double& value : descent) {
        value = -value;
    }
    shorten_long_rows(g, options.gradient_cap);
    std::vector<double> displacement;
    if (options.over_batch) {
        displacement = descent;
    }
    workspace.solve(g, n_threads);
    for (Index i = 0; i < n_batch; ++i) {
        for (Index k = 0; k < q; ++k) {
            c(i, k) = static_cast<T>(g(i, k));
        }
    }
    if (!options.over_batch) {
        return report;
    }
    Extent extent;
    for (Index i = 0; i < n_batch; ++i) {
        double* moved = displacement.data() + i * q;
        for (Index k = 0; k < q; ++k) {
            moved[k] -= options.nugget * g(i, k);
        }
        extent.add(static_cast<double>(detail::simd().get<T>().dot(z.row(i), z.row(i), d)),
                   detail::simd().f64.dot(moved, moved, q));
    }
    return measured(report, options, extent);
}

}  // namespace

template <class T>
LayerReport batch_layer(MatrixView<const T> z, MatrixView<const double> y, const int* labels,
                        const Index* further_halves, const LayerOptions& options, MatrixView<T> c,
                        Batch& workspace, int n_threads) {
    const LayerReport report =
        descend(z, y, labels, further_halves, options, c, workspace, n_threads);
    refuse_divergence(report, c);
    return report;
}

template <class T>
LayerReport flow_layer(const std::vector<MovingPoints<T>>& sets, double pending,
                       MatrixView<const double> y, const int* labels, const Index* batch,
                       Index n_batch, const Index* further_halves, const LayerOptions& options,
                       MatrixView<T> z, MatrixView<T> c, Batch& workspace, int n_threads) {
    const MovingPoints<T>& training = sets.front();
    const Index d = training.points.cols;
    const Index q = training.displacement.cols;
    const Index m = y.cols;

    gather(training, pending, batch, n_batch, z);
    std::vector<double> batch_targets(static_cast<std::size_t>(n_batch * m));
    const MatrixView<double> targets(batch_targets.data(), n_batch, m);
    std::vector<int> batch_labels;
    for (Index i = 0; i < n_batch; ++i) {
        std::copy(y.row(batch[i]), y.row(batch[i]) + m, targets.row(i));
        if (labels != nullptr) {
            batch_labels.push_back(labels[batch[i]]);
        }
    }
    LayerReport report = descend<T>({z.data, z.rows, z.cols, z.stride}, targets,
                                    labels != nullptr ? batch_labels.data() : nullptr,
                                    further_halves, options, c, workspace, n_threads);

    detail::KernelOperator<T> op;
    op.prepare(z, c, options.profile);
    Index n_points = 0;
    for (const MovingPoints<T>& set : sets) {
        n_points += set.points.rows;
    }
    const Index tile_rows = op.tile_rows(n_points);
    const std::vector<Tile<T>> tiles = cut(sets, tile_rows);
    const Index scratch_size = op.scratch(tile_rows);
    std::vector<Extent> extents(tiles.size());
    const double work = static_cast<double>(n_points * n_batch) *
                        (static_cast<double>(d + q) + detail::kProfileWork);
    const int team = detail::team_for(work, n_threads);
    // Nothing is allocated once points change: then nothing can fail between the first and the
    // last.
    auto scratch = detail::scratch_of<T>(team, scratch_size);
    detail::parallel_for(static_cast<Index>(tiles.size()), team, [&](Index t, int worker) {
        const Tile<T>& tile = tiles[static_cast<std::size_t>(t)];
        const MovingPoints<T>& set = *tile.set;
        detail::AlignedVector<T>& mine = scratch[static_cast<std::size_t>(worker)];
        mine.resize(static_cast<std::size_t>(scratch_size));
        settle_rows(set, tile.first, tile.rows, pending);
        op.apply({set.points.row(tile.first), tile.rows, d, set.points.stride},
                 {set.displacement.row(tile.first), tile.rows, q, set.displacement.stride},
                 mine.data());
        if (tile.measured && !options.over_batch) {
            const auto dot = detail::simd().get<T>().dot;
            for (Index i = tile.first; i < tile.first + tile.rows; ++i) {
                const T* x = set.points.row(i);
                const T* moved = set.displacement.row(i);
                extents[static_cast<std::size_t>(t)].add(static_cast<double>(dot(x, x, d)),
                                                         static_cast<double>(dot(moved, moved, q)));
            }
        }
    });

    if (!options.over_batch) {
        Extent total;
        for (const Extent& extent : extents) {
            total.add(extent);
        }
        report = measured(report, options, total);
    }
    refuse_divergence(report, c);
    return report;
}

template void settle(MovingPoints<float>, double, int);
template void settle(MovingPoints<double>, double, int);
template LayerReport batch_layer(MatrixView<const float>, MatrixView<const double>, const int*,
                                 const Index*, const LayerOptions&, MatrixView<float>, Batch&, int);
template LayerReport batch_layer(MatrixView<const double>, MatrixView<const double>, const int*,
                                 const Index*, const LayerOptions&, MatrixView<double>, Batch&,
                                 int);
template LayerReport flow_layer(const std::vector<MovingPoints<float>>&, double,
                                MatrixView<const double>, const int*, const Index*, Index,
                                const Index*, const LayerOptions&, MatrixView<float>,
                                MatrixView<float>, Batch&, int);
template LayerReport flow_layer(const std::vector<MovingPoints<double>>&, double,
                                MatrixView<const double>, const int*, const Index*, Index,
                                const Index*, const LayerOptions&, MatrixView<double>,
                                MatrixView<double>, Batch&, int);

}  // namespace kflow
