#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "check.hpp"
#include "kflow/error.hpp"
#include "kflow/layer.hpp"
#include "kflow/replay.hpp"
#include "naive.hpp"

using namespace kflow;
using namespace kflow::test;

namespace {

constexpr Index kBatch = 10, kCoarse = 5;

template <class T>
constexpr long double kTolerance = sizeof(T) == 4 ? 1e-4L : 1e-9L;

/// A flow's state: the training points and other points that move with them.
template <class T>
struct Flow {
    std::vector<Matrix<T>> points, displacements;
    Matrix<double> y;
    std::vector<Index> batch;
    LayerOptions options;
    double pending = 0.0;
    Matrix<T> z, c;
    std::shared_ptr<Batch> workspace = std::make_shared<Batch>();  // scratch, shared by copies

    /// Points with d coordinates, all but the last n_frozen of which move.
    Flow(Index n, Index d, Index n_frozen = 0) : y(random_matrix<double>(n, 2, 11)) {
        unsigned seed = 12;
        for (Index rows : {n, Index(17), Index(0), Index(1)}) {
            points.push_back(random_matrix<T>(rows, d, seed++, 0.5));
            displacements.emplace_back(rows, d - n_frozen, std::numeric_limits<T>::quiet_NaN());
        }
        for (Index i = 0; i < kBatch; ++i) {
            batch.push_back(i * 7 % n);
        }
        options.profile.length_scale = std::sqrt(static_cast<double>(d));
        options.nugget = 0.1;
        options.n_coarse = kCoarse;
    }

    std::vector<MovingPoints<T>> sets() {
        std::vector<MovingPoints<T>> out;
        for (std::size_t s = 0; s < points.size(); ++s) {
            out.push_back({points[s].view(), displacements[s].view()});
        }
        return out;
    }

    LayerReport layer(const std::vector<Index>& further = {}, int n_threads = 1) {
        options.n_halves = 1 + static_cast<Index>(further.size()) / kCoarse;
        z = Matrix<T>(kBatch, points[0].cols());
        c = Matrix<T>(kBatch, displacements[0].cols());
        const LayerReport report =
            flow_layer<T>(sets(), pending, y.view(), nullptr, batch.data(), kBatch, further.data(),
                          options, z.view(), c.view(), *workspace, n_threads);
        pending = report.step;
        return report;
    }

    void settle_all(int n_threads = 1) {
        for (const MovingPoints<T>& set : sets()) {
            settle<T>(set, pending, n_threads);
        }
        pending = 0.0;
    }
};

// Two layers and the settlement, so that the second works on a pending displacement.
template <class T>
void against_definition(Index d, const Profile& profile, StepRule rule, Index n_frozen = 0,
                        bool over_batch = false) {
    const Scope scope("d " + std::to_string(d) + " frozen " + std::to_string(n_frozen) + " " +
                      traits(profile.family).name + " rule " +
                      std::to_string(static_cast<int>(rule)));
    const std::vector<Index> further{5, 6, 7, 8, 9};
    const std::vector<std::vector<Index>> halves{{0, 1, 2, 3, 4}, further};
    Flow<T> start(23, d, n_frozen);
    start.options.profile = profile;
    start.options.rule = rule;
    start.options.over_batch = over_batch;
    start.options.gradient_cap = over_batch ? 1.5 : start.options.gradient_cap;
    std::vector<naive::Reals> expected;
    for (const Matrix<T>& set : start.points) {
        expected.push_back(cast<long double>(set));
    }
    std::vector<naive::Layer> layers;
    for (int l = 0; l < 2; ++l) {
        layers.push_back(naive::layer(expected[0], d - n_frozen, cast<long double>(start.y),
                                      start.batch, halves, start.options));
        for (naive::Reals& set : expected) {
            set = naive::moved(set, layers.back(), profile);
        }
    }
    for_each_level([&] {
        Flow<T> flow = start;
        for (const naive::Layer& layer : layers) {
            const LayerReport report = flow.layer(further);
            CHECK(std::fabs(report.rho - layer.rho) <= kTolerance<T>);
            CHECK(std::fabs(report.step - layer.step) <= kTolerance<T> * layer.step);
            CHECK(distance(flow.z, layer.z) <= kTolerance<T>);
            CHECK(distance(flow.c, layer.c) <= kTolerance<T> * largest(layer.c));
        }
        flow.settle_all();
        for (std::size_t s = 0; s < expected.size(); ++s) {
            CHECK(distance(flow.points[s], expected[s]) <= 4 * kTolerance<T>);
            for (Index i = 0; i < flow.points[s].rows(); ++i) {
                for (Index k = d - n_frozen; k < d; ++k) {
                    CHECK(flow.points[s](i, k) == start.points[s](i, k));
                }
            }
        }
    });
}

template <class T>
void step_rules() {
    Flow<T> flow(40, 3);
    // No say: a training point at the origin, and what is not a training point.
    for (Index k = 0; k < 3; ++k) {
        flow.points[0](39, k) = T(0);
        flow.points[1](0, k) = T(0);
        flow.points[1](1, k) = T(1e-6);
    }
    flow.options.rule = StepRule::relative;
    const LayerReport report = flow.layer();
    CHECK(report.step > 0.0);
    double most = 0.0, sum_x = 0.0, sum_g = 0.0;
    for (Index i = 0; i < 40; ++i) {
        double x2 = 0.0, g2 = 0.0;
        for (Index k = 0; k < 3; ++k) {
            x2 += std::pow(static_cast<double>(flow.points[0](i, k)), 2);
            g2 += std::pow(static_cast<double>(flow.displacements[0](i, k)), 2);
        }
        sum_x += x2;
        sum_g += g2;
        most = x2 > 0.0 ? std::max(most, report.step * std::sqrt(g2 / x2)) : most;
    }
    CHECK(std::fabs(most - flow.options.step_size) <= 1e-6);
    CHECK(std::fabs(report.relative_displacement - report.step * std::sqrt(sum_g / sum_x)) <= 1e-6);

    // Nothing to learn, nothing moves.
    Flow<T> idle(40, 3);
    idle.y = Matrix<double>(40, 2);
    for (StepRule rule : {StepRule::relative, StepRule::rms, StepRule::absolute, StepRule::fixed}) {
        idle.options.rule = rule;
        CHECK(idle.layer().step == 0.0);
        CHECK(largest(idle.displacements[0]) == 0.0L);
    }
}

template <class T>
void a_failing_layer_leaves_positions_intact() {
    Flow<T> flow(40, 9);
    flow.layer();
    Flow<T> settled = flow;
    settled.settle_all();

    // Divergence is found after the pending displacement was added.
    flow.options.rule = StepRule::fixed;
    flow.options.step_size = 1e6;
    const double pending = flow.pending;
    CHECK_THROWS(flow.layer(), Diverged, error.what()[0] != '\0');
    CHECK(flow.points == settled.points);

    // A singular kernel matrix is found before.
    Flow<T> singular(40, 9);
    singular.layer();
    singular.options.nugget = 0.0;
    singular.batch[7] = singular.batch[2];
    const std::vector<Matrix<T>> points = singular.points;
    CHECK_THROWS(singular.layer(), NotPositiveDefinite, error.first == 2 && error.second == 7);
    CHECK(singular.points == points && singular.pending == pending);

    // A value that is not finite, where the batch does not see it.
    Flow<T> broken(40, 9);
    broken.points[0](39, 0) = std::numeric_limits<T>::infinity();
    CHECK_THROWS(broken.layer(), Diverged, error.what()[0] != '\0');
}

// A leader that has the batch only makes the layer that moves everybody.
template <class T>
void a_layer_of_its_batch_alone() {
    for (const Index n_frozen : {0, 1}) {
        Flow<T> flow(40, 9, n_frozen);
        flow.options.over_batch = true;
        flow.options.rule = StepRule::rms;
        std::vector<Matrix<T>> replayed = flow.points;
        for (int l = 0; l < 3; ++l) {
            Matrix<T> z(kBatch, 9), c(kBatch, 9 - n_frozen);
            Matrix<double> y(kBatch, flow.y.cols());
            for (Index i = 0; i < kBatch; ++i) {
                const Index row = flow.batch[static_cast<std::size_t>(i)];
                std::copy_n(replayed[0].view().row(row), 9, z.view().row(i));
                std::copy_n(flow.y.view().row(row), y.cols(), y.view().row(i));
            }
            Batch workspace;
            const Matrix<T>& given = z;
            const Matrix<double>& targets = y;
            const LayerReport alone = batch_layer<T>(given.view(), targets.view(), nullptr, nullptr,
                                                     flow.options, c.view(), workspace, 1);
            const LayerReport report = flow.layer();
            CHECK(alone.rho == report.rho && alone.step == report.step);
            CHECK(flow.z == z && flow.c == c);
            for (Matrix<T>& set : replayed) {
                replay<T>(set.view(), {{given.view(), c.view(), alone.step}}, flow.options.profile,
                          1);
            }
        }
        flow.settle_all();
        CHECK(flow.points == replayed);  // to the last bit
    }
    Flow<T> flow(40, 9);
    flow.options.over_batch = true;
    flow.options.rule = StepRule::fixed;
    flow.options.step_size = 1e6;
    CHECK_THROWS(flow.layer(), Diverged, error.what()[0] != '\0');
}

// Points so far apart that the loss hardly depends on them: the coefficients are nothing in float
// where the step is finite in double, and too large for float.
template <class T>
void a_step_beyond_the_precision() {
    for (const bool over_batch : {false, true}) {
        Flow<T> flow(40, 9);
        flow.options.over_batch = over_batch;
        flow.options.rule = StepRule::rms;
        flow.options.step_size = 0.01;
        flow.options.profile = {Family::matern32, 0.013};
        const std::vector<Matrix<T>> before = flow.points;
        if (over_batch && sizeof(T) == 4) {
            CHECK_THROWS(flow.layer(), Diverged,
                         std::string(error.what()).find("length scale") != std::string::npos);
            CHECK(flow.points == before);
            continue;
        }
        const LayerReport report = flow.layer();
        CHECK(std::isfinite(static_cast<T>(report.step)));
        flow.settle_all();
        for (Index i = 0; i < flow.points[0].rows(); ++i) {
            for (Index k = 0; k < flow.points[0].cols(); ++k) {
                CHECK(std::isfinite(flow.points[0](i, k)));
            }
        }
    }
}

template <class T>
void thread_counts() {
    for (Index d : {2, 9}) {
        const Flow<T> start(1700, d);
        Flow<T> one = start;
        one.layer();
        one.layer();
        one.settle_all();
        for (int n_threads : {-1, 0, 2, 3, 8}) {
            Flow<T> many = start;
            many.layer({}, n_threads);
            many.layer({}, n_threads);
            many.settle_all(n_threads);
            CHECK(many.points == one.points);
        }
    }
}

// Points that are some columns of a wider array.
template <class T>
void strides() {
    for (Index d : {2, 9}) {
        Flow<T> flow(40, d), wide(40, d);
        const Index stride = d + 3;
        Matrix<T> points(40, stride, T(-7)), displacement(40, stride, T(-7));
        for (Index i = 0; i < 40; ++i) {
            std::copy_n(wide.points[0].view().row(i), d, points.view().row(i));
        }
        const MovingPoints<T> set{{points.data(), 40, d, stride},
                                  {displacement.data(), 40, d, stride}};
        Matrix<T> z(kBatch, d), c(kBatch, d);
        const LayerReport report =
            flow_layer<T>({set}, 0.0, wide.y.view(), nullptr, wide.batch.data(), kBatch, nullptr,
                          wide.options, z.view(), c.view(), *wide.workspace, 1);
        settle(set, report.step, 1);
        flow.layer();
        flow.settle_all();
        for (Index i = 0; i < 40; ++i) {
            for (Index k = 0; k < stride; ++k) {
                CHECK(points(i, k) == (k < d ? flow.points[0](i, k) : T(-7)));
            }
        }
    }
}

}  // namespace

int main() {
    for_each_precision([](auto zero) {
        using T = decltype(zero);
        for (StepRule rule :
             {StepRule::relative, StepRule::rms, StepRule::absolute, StepRule::fixed}) {
            for (Index d : {1, 2, 3, 4, 5, 6, 7, 8, 9, 33}) {
                against_definition<T>(d, {Family::gaussian, std::sqrt(static_cast<double>(d)), 1.0},
                                      rule);
            }
        }
        for (StepRule rule :
             {StepRule::relative, StepRule::rms, StepRule::absolute, StepRule::fixed}) {
            for (Index d : {2, 4, 7, 8, 17, 33}) {
                const Profile profile{Family::gaussian, std::sqrt(static_cast<double>(d)), 1.0};
                against_definition<T>(d, profile, rule, 1);
                against_definition<T>(d, profile, rule, d > 4 ? 1 : 0, true);
            }
        }
        for (Index d : {3, 9}) {
            for (const Profile& profile : naive::radial_profiles(2.0)) {
                against_definition<T>(d, profile, StepRule::rms);
            }
        }
        for_each_level([] {
            step_rules<T>();
            a_failing_layer_leaves_positions_intact<T>();
            a_layer_of_its_batch_alone<T>();
            a_step_beyond_the_precision<T>();
            thread_counts<T>();
            strides<T>();
        });
    });
    return result();
}
