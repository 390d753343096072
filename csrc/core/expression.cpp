#include "kflow/expression.hpp"

#include <algorithm>
#include <utility>

#include "core/aligned.hpp"
#include "core/feature_pair.hpp"
#include "core/parallel.hpp"
#include "core/simd_table.hpp"

namespace kflow {
namespace {

using detail::AlignedVector;
using detail::FeaturePair;
using detail::kTileRows;

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

bool reads_distances(const Term& leaf) {
    return traits(leaf.profile.family).argument == Argument::squared_distance;
}

// Tiles of an expression's kernel matrix: the rows of a block, and the columns of a panel. A tile
// of everything that the terms need stays in the caches.
template <class T>
class Tiles {
   public:
    // The memory that one thread needs; every array holds tiles.
    struct Scratch {
        AlignedVector<T> arguments;  // t of each pair of features
        AlignedVector<T> values;     // of each term, before its effective factor
        AlignedVector<T> slopes;     // dk/dt of each leaf, then its weights
        AlignedVector<T> adjoints;   // of each term that a product needs one of its own for
        AlignedVector<T> shape, sums;
    };

    Tiles(const Expression& expression, const Matrices<T>& rows, const Matrices<T>& columns,
          const Matrices<T>& given, bool given_transposed)
        : terms_(expression.terms),
          given_(given),
          given_transposed_(given_transposed),
          width_(detail::simd().get<T>().panel),
          tile_(kTileRows * width_) {
        for (const Term& term : terms_) {
            double factor = term.factor;
            Index pair = -1;
            if (term.operation == Operation::product) {
                factor *= factors_[size(term.left)] * factors_[size(term.right)];
            } else if (term.operation == Operation::leaf) {
                pair = pair_for(term.source, reads_distances(term), rows, columns);
            }
            factors_.push_back(factor);
            pair_of_.push_back(pair);
        }
    }

    Index width() const { return width_; }
    Index n_terms() const { return Index(terms_.size()); }
    double factor() const { return factors_.back(); }
    std::vector<FeaturePair<T>>& pairs() { return pairs_; }
    Index source_of(Index pair) const { return sources_[size(pair)]; }

    // Returns the values of n_rows rows of a block, before factor(); with `slopes`, the leaves'
    // slopes are stored in s.slopes.
    const T* evaluate(Index block, Index p, Index n_rows, bool slopes, Scratch& s) const {
        const auto& routines = detail::simd().get<T>();
        const Index n = n_rows * width_;
        s.arguments.resize(size(Index(pairs_.size()) * tile_));
        s.values.resize(size(n_terms() * tile_));
        s.slopes.resize(slopes ? s.values.size() : 0);
        for (Index k = 0; k < Index(pairs_.size()); ++k) {
            pairs_[size(k)].tile(block, p, s.arguments.data() + k * tile_);
        }
        const auto value = [&](Index i) { return s.values.data() + i * tile_; };
        for (Index i = 0; i < n_terms(); ++i) {
            const Term& term = terms_[size(i)];
            switch (term.operation) {
                case Operation::leaf: {
                    const T* t = s.arguments.data() + pair_of_[size(i)] * tile_;
                    if (slopes) {
                        routines.evaluate_with_slope(term.profile, t, value(i),
                                                     s.slopes.data() + i * tile_, n);
                    } else {
                        routines.evaluate_profile(term.profile, t, value(i), n);
                    }
                    break;
                }
                case Operation::constant:
                    std::fill(value(i), value(i) + n, T(1));
                    break;
                case Operation::given:
                    copy_given(term.source, block, p, n_rows, value(i));
                    break;
                case Operation::sum:
                    routines.combine(value(term.left), T(factors_[size(term.left)]),
                                     value(term.right), T(factors_[size(term.right)]), value(i), n);
                    break;
                case Operation::product:
                    routines.multiply(value(term.left), value(term.right), value(i), n);
                    break;
            }
        }
        return value(n_terms() - 1);
    }

    // After evaluate() with slopes: adds sum g dk over a tile to the derivatives, and to
    // weights[pair] and sums[pair], where they are not null, g dk/dt and its columns' sums.
    // given_tiles[source] receives g dk/dgiven.
    void differentiate(const T* g, Index n_rows, Scratch& s, double* factor, double* length_scale,
                       double* shape, const std::vector<T*>& weights, const std::vector<T*>& sums,
                       const std::vector<MatrixView<T>>& given_tiles) const {
        const auto& routines = detail::simd().get<T>();
        const Index n = n_rows * width_;
        s.adjoints.resize(s.values.size());
        s.sums.resize(size(width_));
        // dLoss / d(term's value) = scale * adjoint
        std::vector<const T*> adjoint(terms_.size(), nullptr);
        std::vector<double> scale(terms_.size(), 1.0);
        adjoint.back() = g;
        for (Index i = n_terms() - 1; i >= 0; --i) {
            const Term& term = terms_[size(i)];
            const T* a = adjoint[size(i)];
            const T* value = s.values.data() + i * tile_;
            const double own = scale[size(i)];
            factor[i] += own * factors_[size(i)] * static_cast<double>(routines.dot(a, value, n));
            const double inner = own * term.factor;
            switch (term.operation) {
                case Operation::sum:
                    for (const Index part : {term.left, term.right}) {
                        adjoint[size(part)] = a;
                        scale[size(part)] = inner;
                    }
                    break;
                case Operation::product:
                    for (const auto& [part, other] :
                         {std::pair(term.left, term.right), std::pair(term.right, term.left)}) {
                        T* product = s.adjoints.data() + part * tile_;
                        routines.multiply(a, s.values.data() + other * tile_, product, n);
                        adjoint[size(part)] = product;
                        scale[size(part)] = inner * factors_[size(other)];
                    }
                    break;
                case Operation::given: {
                    const MatrixView<T> out = given_tiles[size(term.source)];
                    for (Index r = 0; r < n_rows; ++r) {
                        for (Index lane = 0; lane < out.cols; ++lane) {
                            out(r, lane) = T(inner) * a[r * width_ + lane];
                        }
                    }
                    break;
                }
                case Operation::leaf: {
                    const Index pair = pair_of_[size(i)];
                    const T* t = s.arguments.data() + pair * tile_;
                    const Alpha alpha = traits(term.profile.family).alpha;
                    if (alpha == Alpha::shape) {
                        s.shape.resize(size(tile_));
                        routines.evaluate_shape(term.profile, t, s.shape.data(), n);
                        shape[i] += inner * static_cast<double>(routines.dot(a, s.shape.data(), n));
                    }
                    T* w = s.slopes.data() + i * tile_;
                    routines.weigh(a, T(inner), n_rows, w, s.sums.data());
                    length_scale[i] -= 2.0 * static_cast<double>(routines.dot(w, t, n));
                    if (alpha == Alpha::offset) {
                        double sum = 0.0;
                        for (const T lane : s.sums) {
                            sum += static_cast<double>(lane);
                        }
                        shape[i] += sum * term.profile.length_scale * term.profile.length_scale;
                    }
                    if (weights[size(pair)] != nullptr) {
                        routines.add_scaled(weights[size(pair)], w, T(1), weights[size(pair)], n);
                        routines.add_scaled(sums[size(pair)], s.sums.data(), T(1), sums[size(pair)],
                                            width_);
                    }
                    break;
                }
                case Operation::constant:
                    break;
            }
        }
    }

   private:
    Index pair_for(Index source, bool distances, const Matrices<T>& rows,
                   const Matrices<T>& columns) {
        for (Index k = 0; k < Index(pairs_.size()); ++k) {
            if (sources_[size(k)] == source && pairs_[size(k)].distances() == distances) {
                return k;
            }
        }
        sources_.push_back(source);
        pairs_.emplace_back(rows[size(source)], columns[size(source)], distances);
        return Index(pairs_.size()) - 1;
    }

    void copy_given(Index source, Index block, Index p, Index n_rows, T* out) const {
        const MatrixView<const T>& m = given_[size(source)];
        const Index first = block * kTileRows, column = p * width_;
        const Index columns = std::min(width_, (given_transposed_ ? m.rows : m.cols) - column);
        for (Index r = 0; r < n_rows; ++r) {
            T* row = out + r * width_;
            for (Index lane = 0; lane < columns; ++lane) {
                row[lane] =
                    given_transposed_ ? m(column + lane, first + r) : m(first + r, column + lane);
            }
            std::fill(row + columns, row + width_, T(0));
        }
    }

    const std::vector<Term>& terms_;
    Matrices<T> given_;
    bool given_transposed_;
    Index width_, tile_;
    std::vector<FeaturePair<T>> pairs_;
    std::vector<Index> sources_;   // of the pairs
    std::vector<Index> pair_of_;   // of the terms
    std::vector<double> factors_;  // of the terms, for a product with those of its parts
};

Index blocks_of(Index n) { return (n + kTileRows - 1) / kTileRows; }

Index rows_of(Index block, Index n) { return std::min(kTileRows, n - block * kTileRows); }

template <class T>
bool same(const Matrices<T>& x, const Matrices<T>& z) {
    return std::equal(x.begin(), x.end(), z.begin(), z.end(),
                      [](const auto& u, const auto& v) { return u.data == v.data; });
}

// Copies a tile of a symmetric matrix that lies above the diagonal, or on it, to the other side.
template <class T>
void mirror(MatrixView<T> a, Index row, Index column, Index rows, Index columns) {
    for (Index j = column; j < column + columns; ++j) {
        for (Index i = row; i < std::min(row + rows, j); ++i) {
            a(j, i) = a(i, j);
        }
    }
}

// The cost of all terms, in multiply-adds.
template <class T>
double work_of(const Expression& expression, const Matrices<T>& x, double entries) {
    double work = 0.0;
    for (const Term& term : expression.terms) {
        work += detail::kProfileWork;
        if (term.operation == Operation::leaf) {
            work += static_cast<double>(x[size(term.source)].cols);
        }
    }
    return work * entries;
}

}  // namespace

template <class T>
void evaluate(const Expression& expression, const Matrices<T>& x, const Matrices<T>& z,
              const Matrices<T>& given, MatrixView<T> out, int n_threads) {
    const Tiles<T> tiles(expression, x, z, given, false);
    const Index width = tiles.width(), n_panels = (out.cols + width - 1) / width;
    const int team = detail::team_for(
        work_of(expression, x, static_cast<double>(out.rows * out.cols)), n_threads);
    std::vector<typename Tiles<T>::Scratch> scratch(size(std::max(team, 1)));
    // A task is one panel and some blocks, so that a narrow matrix keeps all threads busy, too.
    constexpr Index kBlocks = 8;
    const Index n_blocks = blocks_of(out.rows), n_chunks = (n_blocks + kBlocks - 1) / kBlocks;
    const auto& routines = detail::simd().get<T>();
    const T factor = static_cast<T>(tiles.factor());
    // K(x, x) is symmetric: its upper triangle is computed and copied.
    const bool symmetric = given.empty() && same(x, z) && out.rows == out.cols;
    detail::parallel_for(n_panels * n_chunks, team, [&](Index task, int worker) {
        const Index p = task % n_panels, column = p * width;
        const Index columns = std::min(width, out.cols - column);
        const Index begin = task / n_panels * kBlocks;
        const Index last = symmetric ? column + columns : out.rows;
        for (Index b = begin; b < std::min(begin + kBlocks, blocks_of(last)); ++b) {
            const Index first = b * kTileRows, n_rows = std::min(kTileRows, last - first);
            const T* k = tiles.evaluate(b, p, n_rows, false, scratch[size(worker)]);
            routines.store_tile(k, factor, {out.row(first) + column, n_rows, columns, out.stride});
            if (symmetric) {
                mirror(out, first, column, n_rows, columns);
            }
        }
    });
}

template <class T>
void apply(const Expression& expression, const Matrices<T>& x, const Matrices<T>& z,
           const Matrices<T>& given, MatrixView<const T> c, MatrixView<T> out, int n_threads) {
    // The centres are the tiles' rows, so that their sums run down the lanes of each point.
    const Tiles<T> tiles(expression, z, x, given, true);
    const auto& routines = detail::simd().get<T>();
    const Index width = tiles.width(), n_panels = (out.rows + width - 1) / width;
    const Index n_blocks = blocks_of(c.rows), q = c.cols;
    const std::vector<detail::RowGroups<T>> coefficients = detail::row_blocks(c, true);
    const double entries = static_cast<double>(out.rows * c.rows);
    const int team = detail::team_for(
        work_of(expression, x, entries) + entries * static_cast<double>(q), n_threads);
    struct Scratch {
        typename Tiles<T>::Scratch tile;
        AlignedVector<T> product, sum;
    };
    std::vector<Scratch> scratch(size(std::max(team, 1)));
    const T factor = static_cast<T>(tiles.factor());
    detail::parallel_for(n_panels, team, [&](Index p, int worker) {
        Scratch& s = scratch[size(worker)];
        s.product.resize(size(q * width));
        s.sum.assign(size(q * width), T(0));
        for (Index b = 0; b < n_blocks; ++b) {
            const T* k = tiles.evaluate(b, p, rows_of(b, c.rows), false, s.tile);
            coefficients[size(b)].multiply(k, 1, s.product.data());
            routines.add_scaled(s.sum.data(), s.product.data(), factor, s.sum.data(), q * width);
        }
        const Index first = p * width, rows = std::min(width, out.rows - first);
        routines.unpack(s.sum.data(), {out.row(first), rows, q, out.stride});
    });
}

ExpressionGradient contract(const Expression& expression, const Matrices<double>& x,
                            const Matrices<double>& given, MatrixView<const double> g,
                            const std::vector<MatrixView<double>>& features,
                            const std::vector<MatrixView<double>>& given_gradients, int n_threads) {
    Tiles<double> tiles(expression, x, x, given, false);
    const auto& routines = detail::simd().f64;
    const Index n = g.rows, n_terms = tiles.n_terms(), n_pairs = Index(tiles.pairs().size());
    const Index width = tiles.width(), n_panels = (n + width - 1) / width;
    std::vector<bool> wanted(size(n_pairs));
    // The upper triangle is enough, by symmetry, unless something needs sums over whole columns.
    bool whole = !given_gradients.empty();
    for (Index k = 0; k < n_pairs; ++k) {
        wanted[size(k)] = features[size(tiles.source_of(k))].data != nullptr;
        if (wanted[size(k)]) {
            tiles.pairs()[size(k)].keep_coordinates();
            whole = true;
        }
    }
    const int team =
        detail::team_for(work_of(expression, x, 2.0 * static_cast<double>(n * n)), n_threads);

    struct Pair {
        AlignedVector<double> weights, sums, product, total;
    };
    struct Scratch {
        Tiles<double>::Scratch tile;
        AlignedVector<double> g;
        std::vector<Pair> pairs;
    };
    std::vector<Scratch> scratch(size(std::max(team, 1)));
    // One row for each panel, so that sums do not depend on which thread computed them.
    std::vector<double> partial(size(n_panels * 3 * n_terms), 0.0);
    detail::parallel_for(n_panels, team, [&](Index p, int worker) {
        Scratch& s = scratch[size(worker)];
        s.g.resize(size(kTileRows * width));
        s.pairs.resize(size(n_pairs));
        const Index column = p * width, columns = std::min(width, n - column);
        double* factor = partial.data() + p * 3 * n_terms;
        std::vector<double*> weights(size(n_pairs), nullptr), sums(size(n_pairs), nullptr);
        for (Index k = 0; k < n_pairs; ++k) {
            if (wanted[size(k)]) {
                Pair& pair = s.pairs[size(k)];
                const Index d = tiles.pairs()[size(k)].dimension();
                pair.weights.resize(size(kTileRows * width));
                pair.sums.assign(size(width), 0.0);
                pair.product.resize(size(d * width));
                pair.total.assign(size(d * width), 0.0);
                weights[size(k)] = pair.weights.data();
                sums[size(k)] = pair.sums.data();
            }
        }
        std::vector<MatrixView<double>> given_tiles(given_gradients.size());
        const Index last = whole ? n : column + columns;
        for (Index b = 0; b < blocks_of(last); ++b) {
            const Index first = b * kTileRows, n_rows = std::min(kTileRows, last - first);
            routines.load_tile({g.row(first) + column, n_rows, columns, g.stride},
                               whole ? 1.0 : 2.0, s.g.data());
            for (Index r = std::max<Index>(column - first, 0); !whole && r < n_rows; ++r) {
                // Entries below the diagonal do not count, and those on it count once, not twice.
                double* row = s.g.data() + r * width;
                const Index diagonal = first + r - column;
                std::fill(row, row + diagonal, 0.0);
                row[diagonal] *= 0.5;
            }
            for (std::size_t k = 0; k < given_tiles.size(); ++k) {
                given_tiles[k] = {given_gradients[k].row(first) + column, n_rows, columns,
                                  given_gradients[k].stride};
            }
            for (Index k = 0; k < n_pairs; ++k) {
                if (wanted[size(k)]) {
                    std::fill(weights[size(k)], weights[size(k)] + n_rows * width, 0.0);
                }
            }
            tiles.evaluate(b, p, n_rows, true, s.tile);
            tiles.differentiate(s.g.data(), n_rows, s.tile, factor, factor + n_terms,
                                factor + 2 * n_terms, weights, sums, given_tiles);
            for (Index k = 0; k < n_pairs; ++k) {
                if (wanted[size(k)]) {
                    Pair& pair = s.pairs[size(k)];
                    tiles.pairs()[size(k)].product(b, pair.weights.data(), pair.product.data());
                    routines.add_scaled(pair.total.data(), pair.product.data(), 1.0,
                                        pair.total.data(), Index(pair.total.size()));
                }
            }
        }
        // With w = g dk/dt, both arguments of k moving alike: 4 sum_j w_ij (u_i - u_j) for
        // distances, 2 sum_j w_ij u_j for products.
        for (Index source = 0; source < Index(features.size()); ++source) {
            if (features[size(source)].data == nullptr) {
                continue;
            }
            const Index d = features[size(source)].cols;
            AlignedVector<double> all(size(d * width), 0.0);
            for (Index k = 0; k < n_pairs; ++k) {
                if (tiles.source_of(k) != source) {
                    continue;
                }
                const Pair& pair = s.pairs[size(k)];
                const FeaturePair<double>& u = tiles.pairs()[size(k)];
                for (Index c = 0; c < d; ++c) {
                    for (Index lane = 0; lane < width; ++lane) {
                        const Index at = c * width + lane;
                        all[size(at)] += u.distances()
                                             ? 4.0 * (pair.sums[size(lane)] * u.panel(p)[at] -
                                                      pair.total[size(at)])
                                             : 2.0 * pair.total[size(at)];
                    }
                }
            }
            const MatrixView<double> out = features[size(source)];
            routines.unpack(all.data(), {out.row(column), columns, d, out.stride});
        }
    });

    ExpressionGradient result;
    for (auto* part : {&result.factor, &result.length_scale, &result.shape}) {
        part->assign(size(n_terms), 0.0);
    }
    for (Index p = 0; p < n_panels; ++p) {
        const double* row = partial.data() + p * 3 * n_terms;
        for (Index i = 0; i < n_terms; ++i) {
            result.factor[size(i)] += row[i];
            result.length_scale[size(i)] += row[n_terms + i];
            result.shape[size(i)] += row[2 * n_terms + i];
        }
    }
    return result;
}

template void evaluate(const Expression&, const Matrices<float>&, const Matrices<float>&,
                       const Matrices<float>&, MatrixView<float>, int);
template void evaluate(const Expression&, const Matrices<double>&, const Matrices<double>&,
                       const Matrices<double>&, MatrixView<double>, int);
template void apply(const Expression&, const Matrices<float>&, const Matrices<float>&,
                    const Matrices<float>&, MatrixView<const float>, MatrixView<float>, int);
template void apply(const Expression&, const Matrices<double>&, const Matrices<double>&,
                    const Matrices<double>&, MatrixView<const double>, MatrixView<double>, int);

}  // namespace kflow
