#include "kflow/variance.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "core/aligned.hpp"
#include "core/cholesky.hpp"
#include "core/kernel_operator.hpp"
#include "core/parallel.hpp"
#include "core/simd_table.hpp"

namespace kflow {
namespace detail {

struct VariancePlan {
    Index n, d, width;
    double amplitude, linear, nugget, scale;
    std::vector<double> roots;       // of the rates
    KernelOperator<double> profile;  // of centres in units of the length scales
    RowGroups<double> centres;
    Cholesky factor, inner;
    bool has_inner;
};

namespace {

// Panels of points that are solved together, so that what they need of a factor is read from
// memory once, and the panels of a factor's columns that are then read again and again.
constexpr Index kTogether = 8, kColumns = 4;

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

void check(const VarianceParts& parts) {
    const Index n = parts.centres.rows, d = parts.centres.cols;
    const auto square = [&](MatrixView<const double> a) { return a.rows == n && a.cols == n; };
    if (parts.rates.rows != 1 || parts.rates.cols != d || !square(parts.factor) ||
        (parts.inner.data != nullptr && !square(parts.inner))) {
        throw std::invalid_argument("the parts of a posterior variance do not fit each other");
    }
    if (traits(parts.family).argument != Argument::squared_distance) {
        throw std::invalid_argument("a posterior variance takes a profile of squared distances");
    }
    for (const auto& factor : {parts.factor, parts.inner}) {
        for (Index i = 0; factor.data != nullptr && i < n; ++i) {
            if (!(factor(i, i) > 0.0)) {
                throw std::invalid_argument("a triangular factor has no positive diagonal");
            }
        }
    }
}

// The upper factor U = L'.
void set_factor(Cholesky& upper, MatrixView<const double> lower) {
    upper.resize(lower.rows);
    for (Index j = 0; j < lower.rows; ++j) {
        for (Index i = 0; i <= j; ++i) {
            upper(i, j) = lower(j, i);
        }
    }
}

// b <- U'^-1 b for panels of b, a few panels of U's columns after the other.
void solve_together(const VariancePlan& plan, const Cholesky& upper, double* b, Index n_panels) {
    const auto eliminate = simd().f64.eliminate;
    const Index block = kColumns * plan.width;
    for (Index begin = 0; begin < plan.n; begin += block) {
        const Index end = std::min(begin + block, plan.n);
        for (Index p = 0; p < n_panels; ++p) {
            eliminate(upper.panel(0), plan.n, begin, end, b + p * plan.n * plan.width, false);
        }
    }
}

// sums (panel) = the sums of the squares of the columns of b (n, panel)
void squares_of(const double* b, Index n, Index width, double* sums) {
    std::fill(sums, sums + width, 0.0);
    for (Index i = 0; i < n; ++i) {
        for (Index lane = 0; lane < width; ++lane) {
            sums[lane] += b[i * width + lane] * b[i * width + lane];
        }
    }
}

// Scratch of the rows of one task: the kernel's panels, and the linear part of one of them.
struct Scratch {
    AlignedVector<double> scaled, panels, lines, points, norms, sums;
};

// The kernel's values k(z_j, x), as panels of the points x (rows, d).
void kernel_panels(const VariancePlan& plan, MatrixView<const double> x, Scratch& mine) {
    const auto& routines = simd().f64;
    const Index width = plan.width, n_panels = (x.rows + width - 1) / width;
    mine.scaled.resize(size(x.rows * plan.d));
    for (Index i = 0; i < x.rows; ++i) {
        for (Index k = 0; k < plan.d; ++k) {
            mine.scaled[size(i * plan.d + k)] = plan.roots[size(k)] * x(i, k);
        }
    }
    mine.panels.resize(size(n_panels * width * plan.n));
    mine.points.resize(size(plan.profile.panels_scratch(x.rows)));
    plan.profile.panels({mine.scaled.data(), x.rows, plan.d}, mine.panels.data(),
                        mine.points.data());
    mine.lines.resize(size(width * plan.n));
    mine.norms.resize(size(width));
    mine.points.resize(std::max(mine.points.size(), size(width * plan.d)));
    const std::vector<double> origin(size(plan.d), 0.0);
    for (Index p = 0; p < n_panels; ++p) {
        const Index rows = std::min(width, x.rows - p * width);
        double* own = mine.panels.data() + p * width * plan.n;
        routines.pack({x.row(p * width), rows, plan.d, x.stride}, origin.data(), mine.points.data(),
                      mine.norms.data());
        plan.centres.multiply(mine.points.data(), 1, mine.lines.data());
        routines.combine(own, plan.amplitude, mine.lines.data(), plan.linear, own, width * plan.n);
    }
}

// out (rows, 1) at the points x (rows, d)
void variances_of(const VariancePlan& plan, MatrixView<const double> x, Scratch& mine,
                  MatrixView<double> out) {
    const Index width = plan.width, n_panels = (x.rows + width - 1) / width;
    kernel_panels(plan, x, mine);
    mine.sums.resize(size(width));
    solve_together(plan, plan.factor, mine.panels.data(), n_panels);
    for (Index p = 0; p < n_panels; ++p) {
        squares_of(mine.panels.data() + p * width * plan.n, plan.n, width, mine.sums.data());
        for (Index i = p * width; i < std::min((p + 1) * width, x.rows); ++i) {
            const double prior =
                plan.amplitude + plan.linear * simd().f64.dot(x.row(i), x.row(i), plan.d);
            out(i, 0) = std::max(prior - mine.sums[size(i - p * width)], 0.0) + plan.nugget;
        }
    }
    if (plan.has_inner) {
        solve_together(plan, plan.inner, mine.panels.data(), n_panels);
        for (Index p = 0; p < n_panels; ++p) {
            squares_of(mine.panels.data() + p * width * plan.n, plan.n, width, mine.sums.data());
            for (Index i = p * width; i < std::min((p + 1) * width, x.rows); ++i) {
                out(i, 0) += plan.nugget * mine.sums[size(i - p * width)];
            }
        }
    }
    for (Index i = 0; i < x.rows; ++i) {
        out(i, 0) *= plan.scale;
    }
}

}  // namespace
}  // namespace detail

PosteriorVariance::PosteriorVariance(const VarianceParts& parts) {
    detail::check(parts);
    auto plan = std::make_shared<detail::VariancePlan>();
    plan->n = parts.centres.rows;
    plan->d = parts.centres.cols;
    plan->width = detail::simd().f64.panel;
    plan->amplitude = parts.amplitude;
    plan->linear = parts.linear;
    plan->nugget = parts.nugget;
    plan->scale = parts.scale;
    std::vector<double> scaled(detail::size(plan->n * plan->d));
    for (Index k = 0; k < plan->d; ++k) {
        plan->roots.push_back(std::sqrt(parts.rates(0, k)));
        for (Index j = 0; j < plan->n; ++j) {
            scaled[detail::size(j * plan->d + k)] =
                plan->roots[detail::size(k)] * parts.centres(j, k);
        }
    }
    plan->profile.prepare({scaled.data(), plan->n, plan->d}, {}, {parts.family});
    plan->centres.set(parts.centres);
    detail::set_factor(plan->factor, parts.factor);
    plan->has_inner = parts.inner.data != nullptr;
    if (plan->has_inner) {
        detail::set_factor(plan->inner, parts.inner);
    }
    plan_ = std::move(plan);
}

Index PosteriorVariance::n_dimensions() const { return plan_->d; }

void PosteriorVariance::operator()(MatrixView<const double> x, MatrixView<double> out,
                                   int n_threads) const {
    const detail::VariancePlan& plan = *plan_;
    if (detail::simd().f64.panel != plan.width) {
        throw std::logic_error("a posterior variance was prepared for another instruction set");
    }
    const double per_row = static_cast<double>(plan.n) *
                           (0.5 * static_cast<double>(plan.has_inner ? 2 * plan.n : plan.n) +
                            static_cast<double>(2 * plan.d) + detail::kProfileWork);
    const Index n_panels = (x.rows + plan.width - 1) / plan.width;
    const int team = detail::team_for(per_row * static_cast<double>(x.rows), n_threads);
    // Few points are shared evenly: what becomes of a panel does not depend on the others.
    const Index together = std::clamp<Index>(n_panels / std::max(team, 1), 1, detail::kTogether);
    std::vector<detail::Scratch> scratch(detail::size(std::max(team, 1)));
    const Index rows = together * plan.width;
    detail::parallel_for((x.rows + rows - 1) / rows, team, [&](Index task, int worker) {
        const Index first = task * rows, mine = std::min(rows, x.rows - first);
        detail::variances_of(plan, {x.row(first), mine, x.cols, x.stride},
                             scratch[detail::size(worker)], {out.row(first), mine, 1, out.stride});
    });
}

}  // namespace kflow
