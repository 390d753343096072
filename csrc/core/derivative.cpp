#include "kflow/derivative.hpp"

#include <algorithm>
#include <vector>

#include "core/aligned.hpp"
#include "core/feature_pair.hpp"
#include "core/parallel.hpp"
#include "core/row_groups.hpp"
#include "core/simd_table.hpp"

namespace kflow {
namespace {

using detail::kTileRows;

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

// The memory that a thread needs for the points of one panel.
template <class T>
struct Scratch {
    detail::AlignedVector<T> slopes, values, product;  // of a block of centres
    detail::AlignedVector<T> sums, norms, given, part, total;
    std::vector<T> rows;

    Scratch(Index width, Index most_columns)
        : slopes(size(kTileRows * width)),
          values(size(kTileRows * width)),
          product(size(kTileRows * width)),
          sums(size(width)),
          norms(size(width)),
          given(size(most_columns * width)),
          part(size(most_columns * width)),
          total(size(most_columns * width)),
          rows(size(most_columns * width)) {}
};

// Calls panel(p, scratch) for all panels of n points, after which scratch.total (columns, width)
// holds the points' results, and adds those to the base.
template <class T, class Panel>
void for_each_panel(Index n, Index m, Index most_columns, MatrixView<const T> base,
                    MatrixView<T> out, double multiply_adds, int n_threads, Panel&& panel) {
    const detail::SimdRoutines<T>& routines = detail::simd().get<T>();
    const Index width = routines.panel;
    const double work = static_cast<double>(n * m) * (multiply_adds + detail::kProfileWork);
    const int team = detail::team_for(work, n_threads);
    std::vector<Scratch<T>> scratch(size(std::max(team, 1)), Scratch<T>(width, most_columns));
    detail::parallel_for((n + width - 1) / width, team, [&](Index p, int worker) {
        Scratch<T>& mine = scratch[size(worker)];
        std::fill(mine.total.begin(), mine.total.end(), T(0));
        panel(p, mine);
        const MatrixView<T> rows(mine.rows.data(), std::min(width, n - p * width), out.cols);
        routines.unpack(mine.total.data(), rows);
        for (Index i = 0; i < rows.rows; ++i) {
            T* target = out.row(p * width + i);
            if (base.data != nullptr) {
                routines.add_scaled(base.row(p * width + i), rows.row(i), T(1), target, out.cols);
            } else {
                std::copy(rows.row(i), rows.row(i) + out.cols, target);
            }
        }
    });
}

// Panel p of the rows of a.
template <class T>
void pack_panel(MatrixView<const T> a, Index p, Scratch<T>& s) {
    const detail::SimdRoutines<T>& routines = detail::simd().get<T>();
    const Index first = p * routines.panel;
    const std::vector<T> nothing(size(a.cols), T(0));
    routines.pack({a.row(first), std::min(routines.panel, a.rows - first), a.cols, a.stride},
                  nothing.data(), s.given.data(), s.norms.data());
}

// s.slopes <- 2 k'(|x - z_j|^2) o s.product for a block of centres; s.sums <- its column sums
template <class T>
void weights(const detail::FeaturePair<T>& points, const Profile& profile, Index block,
             Index n_rows, Index p, Scratch<T>& s) {
    const detail::SimdRoutines<T>& routines = detail::simd().get<T>();
    points.tile(block, p, s.slopes.data());
    routines.evaluate_with_slope(profile, s.slopes.data(), s.values.data(), s.slopes.data(),
                                 n_rows * routines.panel);
    routines.weigh(s.product.data(), T(2), n_rows, s.slopes.data(), s.sums.data());
}

}  // namespace

template <class T>
void push_forward(MatrixView<const T> x, MatrixView<const T> z, MatrixView<const T> c,
                  const Profile& profile, MatrixView<const T> t, MatrixView<const T> base,
                  MatrixView<T> out, int n_threads) {
    const detail::SimdRoutines<T>& routines = detail::simd().get<T>();
    const Index n = x.rows, m = z.rows, d = x.cols, q = c.cols, width = routines.panel;
    const detail::FeaturePair<T> points(z, x, true);
    const std::vector<detail::RowGroups<T>> coefficients = detail::row_blocks(c, true);
    // (x_i - z_j).t_i is one product of (-z_j, 1) and (t_i, x_i.t_i). From an origin among the
    // centres it keeps its digits far from zero.
    std::vector<T> differences(size(m * (d + 1)), T(1)), directions(size(n * (d + 1)));
    for (Index j = 0; j < m; ++j) {
        for (Index k = 0; k < d; ++k) {
            differences[size(j * (d + 1) + k)] = z(0, k) - z(j, k);
        }
    }
    for (Index i = 0; m > 0 && i < n; ++i) {
        T* row = directions.data() + i * (d + 1);
        T along = 0;
        for (Index k = 0; k < d; ++k) {
            row[k] = t(i, k);
            along += (x(i, k) - z(0, k)) * t(i, k);
        }
        row[d] = along;
    }
    const auto along = detail::row_blocks<T>({differences.data(), m, d + 1}, false);
    for_each_panel<T>(
        n, m, std::max(d + 1, q), base, out, static_cast<double>(2 * d + q), n_threads,
        [&](Index p, Scratch<T>& s) {
            pack_panel<T>({directions.data(), n, d + 1}, p, s);
            for (Index b = 0; b < Index(along.size()); ++b) {
                along[size(b)].multiply(s.given.data(), 1, s.product.data());
                weights(points, profile, b, std::min(kTileRows, m - b * kTileRows), p, s);
                coefficients[size(b)].multiply(s.slopes.data(), 1, s.part.data());
                routines.add_scaled(s.total.data(), s.part.data(), T(1), s.total.data(), q * width);
            }
        });
}

template <class T>
void pull_back(MatrixView<const T> x, MatrixView<const T> z, MatrixView<const T> c,
               const Profile& profile, MatrixView<const T> a, MatrixView<const T> base,
               MatrixView<T> out, int n_threads) {
    const detail::SimdRoutines<T>& routines = detail::simd().get<T>();
    const Index n = x.rows, m = z.rows, d = x.cols, q = c.cols, width = routines.panel;
    detail::FeaturePair<T> points(z, x, true);
    points.keep_coordinates();
    const std::vector<detail::RowGroups<T>> coefficients = detail::row_blocks(c, false);
    for_each_panel<T>(
        n, m, std::max(d, q), base, out, static_cast<double>(2 * d + q), n_threads,
        [&](Index p, Scratch<T>& s) {
            pack_panel(a, p, s);
            // sum_j w_j (x - z_j) = (sum_j w_j) x - sum_j w_j z_j
            detail::AlignedVector<T>& sums = s.norms;
            std::fill(sums.begin(), sums.end(), T(0));
            for (Index b = 0; b < Index(coefficients.size()); ++b) {
                coefficients[size(b)].multiply(s.given.data(), 1, s.product.data());
                weights(points, profile, b, std::min(kTileRows, m - b * kTileRows), p, s);
                routines.add_scaled(sums.data(), s.sums.data(), T(1), sums.data(), width);
                points.product(b, s.slopes.data(), s.part.data());
                routines.add_scaled(s.total.data(), s.part.data(), T(1), s.total.data(), d * width);
            }
            for (Index k = 0; k < d; ++k) {
                T* total = s.total.data() + k * width;
                routines.multiply(points.panel(p) + k * width, sums.data(), s.part.data(), width);
                routines.combine(s.part.data(), T(1), total, T(-1), total, width);
            }
        });
}

#define KFLOW_INSTANTIATE(T)                                                                  \
    template void push_forward(MatrixView<const T>, MatrixView<const T>, MatrixView<const T>, \
                               const Profile&, MatrixView<const T>, MatrixView<const T>,      \
                               MatrixView<T>, int);                                           \
    template void pull_back(MatrixView<const T>, MatrixView<const T>, MatrixView<const T>,    \
                            const Profile&, MatrixView<const T>, MatrixView<const T>,         \
                            MatrixView<T>, int);
KFLOW_INSTANTIATE(float)
KFLOW_INSTANTIATE(double)
#undef KFLOW_INSTANTIATE

}  // namespace kflow
