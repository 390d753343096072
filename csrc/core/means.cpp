#include "kflow/means.hpp"

#include <algorithm>
#include <stdexcept>

#include "core/aligned.hpp"
#include "core/parallel.hpp"
#include "core/simd_table.hpp"

namespace kflow {
namespace detail {

template <class T>
struct MeansPlan {
    Index n_centres, d, q, m, wide;  // wide: m, rounded up
    std::vector<Profile> profiles;
    AlignedVector<T> rates, centres, coefficients, linear, back, offset;

    MeanTerms<T> terms() const {
        return {profiles.data(), rates.data(), centres.data(), coefficients.data(),
                (n_centres + kCentreBlock - 1) / kCentreBlock};
    }
};

namespace {

// Points for which centres and coefficients are read once from the second-level cache.
constexpr Index kRows = 8;

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

Index rounded_up(Index n) { return (n + kCentreBlock - 1) / kCentreBlock * kCentreBlock; }

template <class T>
void check(const MeansParts<T>& parts) {
    const auto q = static_cast<Index>(parts.families.size());
    const auto m = static_cast<Index>(parts.offset.size());
    const auto shaped = [](MatrixView<const T> a, Index rows, Index cols) {
        return a.rows == rows && a.cols == cols;
    };
    const Index n = parts.centres.rows, d = parts.centres.cols;
    if (!shaped(parts.rates, q, d) || !shaped(parts.coefficients, q, n) ||
        !shaped(parts.linear, q, d) || !shaped(parts.back, q, m)) {
        throw std::invalid_argument("the parts of posterior means do not fit each other");
    }
    for (const Family family : parts.families) {
        if (traits(family).argument != Argument::squared_distance) {
            throw std::invalid_argument("posterior means take profiles of squared distances");
        }
    }
}

template <class T>
AlignedVector<T> copied(MatrixView<const T> a) {
    AlignedVector<T> out(size(a.rows * a.cols));
    for (Index i = 0; i < a.rows; ++i) {
        std::copy(a.row(i), a.row(i) + a.cols, out.data() + i * a.cols);
    }
    return out;
}

// Blocks of a (rows, cols), of kCentreBlock columns each: (blocks, rows, kCentreBlock), zero beyond
// its columns.
template <class T, class Element>
AlignedVector<T> blocks(Index rows, Index cols, Element&& element) {
    AlignedVector<T> out(size(rounded_up(cols) * rows), T(0));
    for (Index i = 0; i < rows; ++i) {
        for (Index j = 0; j < cols; ++j) {
            const Index block = j / kCentreBlock;
            out[size((block * rows + i) * kCentreBlock + j % kCentreBlock)] = element(i, j);
        }
    }
    return out;
}

/// body(first, rows, scratch) for groups of rows, each with scratch of `numbers`.
template <class T, class Body>
void for_rows(const MeansPlan<T>& plan, Index n, Index numbers, double gradients, int n_threads,
              Body&& body) {
    auto scratch = scratch_of<T>(n_threads, numbers);
    const double work =
        gradients * static_cast<double>(n * plan.q) *
        (static_cast<double>(plan.n_centres) * (static_cast<double>(plan.d) + kProfileWork) +
         static_cast<double>(plan.m));
    parallel_for((n + kRows - 1) / kRows, team_for(work, n_threads), [&](Index task, int worker) {
        AlignedVector<T>& mine = scratch[size(worker)];
        mine.resize(size(numbers));
        body(task * kRows, std::min(kRows, n - task * kRows), mine.data());
    });
}

// Numbers of scratch for a group of rows, of which `sums` are wanted.
template <class T>
Index scratch_numbers(const MeansPlan<T>& plan, Index sums) {
    return 2 * plan.d * kCentreBlock + kRows * sums * simd().get<T>().lanes;
}

template <class T>
void scores_of(const MeansPlan<T>& plan, MatrixView<const T> x, T* scratch, MatrixView<T> out) {
    const SimdRoutines<T>& routines = simd().get<T>();
    routines.mean_values(plan.terms(), x, scratch, out);
    for (Index i = 0; i < x.rows; ++i) {
        for (Index c = 0; c < plan.q; ++c) {
            out(i, c) += routines.dot(plan.linear.data() + c * plan.d, x.row(i), plan.d);
        }
    }
}

}  // namespace
}  // namespace detail

template <class T>
PosteriorMeans<T>::PosteriorMeans(const MeansParts<T>& parts) {
    detail::check(parts);
    auto plan = std::make_shared<detail::MeansPlan<T>>();
    plan->n_centres = parts.centres.rows;
    plan->d = parts.centres.cols;
    plan->q = static_cast<Index>(parts.families.size());
    plan->m = static_cast<Index>(parts.offset.size());
    plan->wide = detail::rounded_up(plan->m);
    for (const Family family : parts.families) {
        plan->profiles.push_back({family});
    }
    const auto transposed = [&](Index k, Index j) { return parts.centres(j, k); };
    plan->rates = detail::copied(parts.rates);
    plan->linear = detail::copied(parts.linear);
    plan->centres = detail::blocks<T>(plan->d, plan->n_centres, transposed);
    plan->coefficients = detail::blocks<T>(plan->q, plan->n_centres, parts.coefficients);
    plan->offset.assign(parts.offset.begin(), parts.offset.end());
    plan->back.assign(detail::size(plan->q * plan->wide), T(0));
    for (Index c = 0; c < plan->q; ++c) {
        std::copy(parts.back.row(c), parts.back.row(c) + plan->m,
                  plan->back.data() + c * plan->wide);
    }
    plan_ = std::move(plan);
}

template <class T>
Index PosteriorMeans<T>::n_dimensions() const {
    return plan_->d;
}

template <class T>
Index PosteriorMeans<T>::n_components() const {
    return plan_->q;
}

template <class T>
Index PosteriorMeans<T>::n_outputs() const {
    return plan_->m;
}

template <class T>
void PosteriorMeans<T>::scores(MatrixView<const T> x, MatrixView<T> out, int n_threads) const {
    const detail::MeansPlan<T>& plan = *plan_;
    const Index numbers = detail::scratch_numbers(plan, plan.q);
    detail::for_rows(plan, x.rows, numbers, 1.0, n_threads, [&](Index first, Index rows, T* mine) {
        detail::scores_of(plan, {x.row(first), rows, x.cols, x.stride}, mine,
                          {out.row(first), rows, out.cols, out.stride});
    });
}

template <class T>
void PosteriorMeans<T>::outputs(MatrixView<const T> x, MatrixView<T> out, int n_threads) const {
    const detail::MeansPlan<T>& plan = *plan_;
    const detail::SimdRoutines<T>& routines = detail::simd().get<T>();
    const Index for_scores = detail::scratch_numbers(plan, plan.q);
    const Index numbers = for_scores + detail::kRows * (plan.wide + plan.q);
    detail::for_rows(plan, x.rows, numbers, 1.0, n_threads, [&](Index first, Index rows, T* mine) {
        T* fields = mine + for_scores;
        T* scores = fields + detail::kRows * plan.wide;
        detail::scores_of(plan, {x.row(first), rows, x.cols, x.stride}, mine,
                          MatrixView<T>(scores, rows, plan.q));
        routines.mix(scores, rows, plan.q, plan.back.data(), plan.wide, routines.lanes,
                     plan.wide / routines.lanes, fields, plan.wide, routines.lanes);
        for (Index i = 0; i < rows; ++i) {
            routines.add_scaled(plan.offset.data(), fields + i * plan.wide, T(1),
                                out.row(first + i), plan.m);
        }
    });
}

template <class T>
void PosteriorMeans<T>::gradients(MatrixView<const T> x, MatrixView<T> out, int n_threads) const {
    const detail::MeansPlan<T>& plan = *plan_;
    const detail::SimdRoutines<T>& routines = detail::simd().get<T>();
    const Index numbers = detail::scratch_numbers(plan, plan.q * plan.d);
    detail::for_rows(plan, x.rows, numbers, 2.0, n_threads, [&](Index first, Index rows, T* mine) {
        const MatrixView<T> mine_out(out.row(first), rows, out.cols, out.stride);
        routines.mean_gradients(plan.terms(), {x.row(first), rows, x.cols, x.stride}, mine,
                                mine_out);
        for (Index i = 0; i < rows; ++i) {
            routines.add_scaled(mine_out.row(i), plan.linear.data(), T(1), mine_out.row(i),
                                plan.q * plan.d);
        }
    });
}

template class PosteriorMeans<float>;
template class PosteriorMeans<double>;

}  // namespace kflow
