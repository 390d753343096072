#include "core/symmetric.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/aligned.hpp"
#include "core/parallel.hpp"
#include "core/row_groups.hpp"
#include "core/simd_table.hpp"
#include "kflow/error.hpp"

namespace kflow::detail {
namespace {

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

/// The cost of reading or writing one number in memory, in multiply-adds.
constexpr double kMemoryWork = 8.0;

/// Rows and columns of one tile of a symmetric product: a whole number of panels and of groups at
/// every level.
constexpr Index kTile = 48;

/// Finds two rows that the kernel cannot tell apart: their 2 x 2 determinant is a rounding error.
[[noreturn]] void throw_singular(MatrixView<const double> a, const Rows& rows) {
    constexpr double close = 1.0 - 4.0 * std::numeric_limits<double>::epsilon();
    for (Index i : rows) {
        for (Index j : rows) {
            if (j == i) {
                break;
            }
            const double value = std::abs(a(i, j));
            if (value > 0.0 && value >= close * std::sqrt(a(i, i)) * std::sqrt(a(j, j))) {
                throw NotPositiveDefinite(std::min(i, j), std::max(i, j));
            }
        }
    }
    throw NotPositiveDefinite(-1, -1);
}

}  // namespace

Rows all_rows(Index n) {
    Rows rows(size(n));
    std::iota(rows.begin(), rows.end(), Index(0));
    return rows;
}

std::vector<double> rows_of(MatrixView<const double> y, const Rows& rows) {
    std::vector<double> out;
    for (Index i : rows) {
        out.insert(out.end(), y.row(i), y.row(i) + y.cols);
    }
    return out;
}

void factor_block(MatrixView<const double> a, const Rows& rows, Cholesky& u, int n_threads) {
    const Index n = static_cast<Index>(rows.size());
    u.resize(n);
    const Index width = u.width();
    const int team = team_for(kMemoryWork / 2.0 * static_cast<double>(n * n), n_threads);
    parallel_for(u.panels_of(n), team, [&](Index p, int) {
        const Index first = p * width, columns = std::min(width, n - first);
        for (Index i = 0; i < first + columns; ++i) {
            const double* row = a.row(rows[size(i)]);
            double* out = u.panel(p) + i * width;
            for (Index lane = 0; lane < columns; ++lane) {
                out[lane] = row[rows[size(first + lane)]];
            }
        }
    });
    if (!u.factor(n_threads)) {
        throw_singular(a, rows);
    }
}

void multiply_block(MatrixView<const double> a, const Rows& rows, const Rows& columns,
                    MatrixView<const double> b, MatrixView<double> out, int n_threads) {
    const auto& routines = simd().f64;
    const Index inner = static_cast<Index>(rows.size()), n = static_cast<Index>(columns.size());
    const Index width = routines.panel, n_panels = (n + width - 1) / width, m = b.cols;
    const int team = team_for(
        static_cast<double>(inner * n) * (static_cast<double>(m) + kMemoryWork), n_threads);
    RowGroups<double> left;
    left.set_transposed(b);
    struct Scratch {
        AlignedVector<double> block, product;
    };
    std::vector<Scratch> scratch(size(std::max(team, 1)));
    parallel_for(n_panels, team, [&](Index p, int worker) {
        Scratch& mine = scratch[size(worker)];
        mine.block.resize(size(inner * width));
        mine.product.resize(size(m * width));
        const Index* const first = columns.data() + p * width;
        const Index count = std::min(width, n - p * width);
        for (Index i = 0; i < inner; ++i) {
            const double* row = a.row(rows[size(i)]);
            for (Index lane = 0; lane < count; ++lane) {
                mine.block[size(i * width + lane)] = row[first[lane]];
            }
        }
        left.multiply(mine.block.data(), 1, mine.product.data());
        routines.unpack(mine.product.data(), {out.row(p * width), count, m, out.stride});
    });
}

void ThinFactors::multiply(bool add, MatrixView<double> out, int n_threads) const {
    const auto& routines = simd().f64;
    const MatrixView<const double> left(left_.data(), n_, rank_), right(right_.data(), n_, rank_);
    const Index n = n_, rank = rank_, width = routines.panel;
    const Index n_tiles = (n + kTile - 1) / kTile, panels_of_tile = kTile / width;
    const int team = team_for(
        static_cast<double>(n * n) * (static_cast<double>(rank) / 2.0 + kMemoryWork), n_threads);

    std::vector<RowGroups<double>> rows(size(n_tiles));
    AlignedVector<double> panels(size(n_tiles * kTile * rank));
    const std::vector<double> nothing(size(rank), 0.0);
    parallel_for(n_tiles, team, [&](Index t, int) {
        const Index first = t * kTile, count = std::min(kTile, n - first);
        double unused[kTile];
        rows[size(t)].set({left.row(first), count, rank, left.stride});
        routines.pack({right.row(first), count, rank, right.stride}, nothing.data(),
                      panels.data() + first * rank, unused);
    });

    std::vector<AlignedVector<double>> scratch(size(std::max(team, 1)));
    // Tiles of the lower triangle, row after row.
    parallel_for(n_tiles * (n_tiles + 1) / 2, team, [&](Index task, int worker) {
        Index ti = 0;
        while ((ti + 1) * (ti + 2) / 2 <= task) {
            ++ti;
        }
        const Index tj = task - ti * (ti + 1) / 2;
        const Index i0 = ti * kTile, j0 = tj * kTile;
        const Index height = std::min(kTile, n - i0), breadth = std::min(kTile, n - j0);
        const Index n_panels = std::min(panels_of_tile, (breadth + width - 1) / width);
        auto& product = scratch[size(worker)];
        product.resize(size(kTile * kTile));
        rows[size(ti)].multiply(panels.data() + j0 * rank, n_panels, product.data());
        for (Index first = 0; first < breadth; first += width) {
            double* panel = product.data() + first * height;
            const Index columns = std::min(width, breadth - first);
            for (Index i = 0; i < height; ++i) {
                double* row = out.row(i0 + i) + j0 + first;
                double* sums = panel + i * width;
                // In a tile on the diagonal, the part above it is a copy of the part below.
                const Index count =
                    ti == tj ? std::clamp(i - first + 1, Index(0), columns) : columns;
                for (Index lane = 0; lane < count; ++lane) {
                    row[lane] = sums[lane] += add ? row[lane] : 0.0;
                }
            }
            if (ti != tj) {
                routines.unpack(panel, {out.row(j0 + first) + i0, columns, height, out.stride});
            }
        }
        for (Index i = i0; ti == tj && i < i0 + height; ++i) {
            for (Index j = j0; j < i; ++j) {
                out(j, i) = out(i, j);
            }
        }
    });
}

}  // namespace kflow::detail
