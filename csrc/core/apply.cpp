#include "kflow/apply.hpp"

#include <algorithm>
#include <vector>

#include "core/aligned.hpp"
#include "core/kernel_operator.hpp"
#include "core/parallel.hpp"

namespace kflow {

template <class T>
void apply(MatrixView<const T> x, MatrixView<const T> z, MatrixView<const T> c,
           const Profile& profile, double step, MatrixView<const T> base, MatrixView<T> out,
           int n_threads) {
    detail::KernelOperator<T> op;
    op.prepare(z, c, profile);
    const Index tile = op.tile_rows(x.rows);
    const Index n_tiles = (x.rows + tile - 1) / tile;
    const Index scratch_size = op.scratch(tile);
    const Index q = out.cols;
    const auto& routines = detail::simd().get<T>();
    std::vector<detail::AlignedVector<T>> scratch(static_cast<std::size_t>(std::max(n_threads, 1)));
    const double work = static_cast<double>(x.rows * z.rows) *
                        (static_cast<double>(x.cols + q) + detail::kProfileWork);
    detail::parallel_for(n_tiles, detail::team_for(work, n_threads), [&](Index t, int worker) {
        const Index first = t * tile;
        const Index rows = std::min(tile, x.rows - first);
        detail::AlignedVector<T>& mine = scratch[static_cast<std::size_t>(worker)];
        mine.resize(static_cast<std::size_t>(scratch_size + tile * q));
        // The product goes to scratch first because `out` may be `x` or `base`.
        const MatrixView<T> product(mine.data() + scratch_size, rows, q);
        op.apply({x.row(first), rows, x.cols, x.stride}, product, mine.data());
        for (Index i = 0; i < rows; ++i) {
            T* target = out.row(first + i);
            if (base.data != nullptr) {
                routines.add_scaled(base.row(first + i), product.row(i), static_cast<T>(step),
                                    target, q);
            } else {
                for (Index k = 0; k < q; ++k) {
                    target[k] = static_cast<T>(step) * product(i, k);
                }
            }
        }
    });
}

template void apply(MatrixView<const float>, MatrixView<const float>, MatrixView<const float>,
                    const Profile&, double, MatrixView<const float>, MatrixView<float>, int);
template void apply(MatrixView<const double>, MatrixView<const double>, MatrixView<const double>,
                    const Profile&, double, MatrixView<const double>, MatrixView<double>, int);

}  // namespace kflow
