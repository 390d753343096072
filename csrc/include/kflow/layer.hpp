#pragma once

#include <limits>
#include <vector>

#include "kflow/batch.hpp"
#include "kflow/matrix_view.hpp"
#include "kflow/profile.hpp"

namespace kflow {

/// How far a layer moves. G is the displacement before it is scaled, i runs over all N points, or
/// over the layer's batch.
///   relative  size * min_i |x_i| / |G_i|: no point moves more than a fraction of its norm
///             (without points at the origin, which would stop the flow forever)
///   rms       size * rms |x_i| / rms |G_i|: a few outliers change it little
///   absolute  size / max_i |G_i|
///   fixed     size
enum class StepRule : int { relative, rms, absolute, fixed };

/// Points (n, k) that the flow carries. Their first q coordinates move; any others count in
/// distances and norms only, such as the distance of a point from the subspace in which the flow
/// runs. The true position of the first q is points + pending * displacement (n, q): the
/// displacement is held back until its step is known, and added when the next layer touches the
/// same tile anyway.
template <class T>
struct MovingPoints {
    MatrixView<T> points;
    MatrixView<T> displacement;
};

struct LayerOptions {
    Profile profile;
    double nugget = 0.0;
    StepRule rule = StepRule::relative;
    double step_size = 0.1;
    /// The largest length of a row of d rho / dz, divided by the median of all lengths.
    double gradient_cap = std::numeric_limits<double>::infinity();
    Index n_coarse = 0;
    Index n_halves = 1;
    /// Measure the step on the batch, not on all points: then it is known before anything moves.
    bool over_batch = false;
};

struct LayerReport {
    double rho = 0.0;
    double step = 0.0;  ///< the new pending step
    double class_distance_ratio = 0.0;
    double relative_displacement = 0.0;  ///< step * rms |G_i| / rms |x_i|
    bool finite = true;
};

/// Adds the pending displacement: points += pending * displacement.
template <class T>
void settle(MovingPoints<T> set, double pending, int n_threads);

/// The part of a layer that the batch alone decides, with the step measured on it: z (N_f, k) are
/// its positions, the coarse ones first, y (N_f, m) its targets, labels (N_f entries) may be null.
/// Receives c (N_f, q) such that the layer adds step K(x, z) c to the first q coordinates of every
/// x. No kernel matrix is needed for the batch's own displacements: with A = K(z, z) + nugget I and
/// g the descent direction, K(z, z) c = g - nugget c.
/// Throws NotPositiveDefinite and Diverged.
template <class T>
LayerReport batch_layer(MatrixView<const T> z, MatrixView<const double> y, const int* labels,
                        const Index* further_halves, const LayerOptions& options, MatrixView<T> c,
                        Batch& workspace, int n_threads);

/// One layer of the flow. sets[0] holds the N training points, on which the step rule is measured
/// (or on the batch); every set moves. y (N, m) are the targets, labels (N entries) may be null.
/// batch: N_f row numbers, the coarse ones first; further_halves: see Batch::rho.
/// Receives z (N_f, k), the batch's positions, and c (N_f, q) such that the layer adds
/// step K(x, z) c to the first q coordinates of every x, to be stored for later points.
///
/// `pending` is the step of the layer before. On return it is settled, and report.step pends.
/// Throws NotPositiveDefinite with `pending` not yet settled, and Diverged with it settled and
/// nothing new pending: in both cases every position is the one before the layer.
/// Cost 2 N N_f (k + q) flops and N N_f profiles, and the batch's algebra.
template <class T>
LayerReport flow_layer(const std::vector<MovingPoints<T>>& sets, double pending,
                       MatrixView<const double> y, const int* labels, const Index* batch,
                       Index n_batch, const Index* further_halves, const LayerOptions& options,
                       MatrixView<T> z, MatrixView<T> c, Batch& workspace, int n_threads);

}  // namespace kflow
