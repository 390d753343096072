#include "kflow/gram.hpp"

#include <algorithm>
#include <vector>

#include "core/aligned.hpp"
#include "core/kernel_operator.hpp"
#include "core/parallel.hpp"

namespace kflow {

template <class T>
void gram(MatrixView<const T> x, MatrixView<const T> z, const Profile& profile, MatrixView<T> out,
          int n_threads) {
    detail::KernelOperator<T> op;
    op.prepare(z, {}, profile);
    const Index tile = op.tile_rows(x.rows);
    const Index n_tiles = (x.rows + tile - 1) / tile;
    std::vector<detail::AlignedVector<T>> scratch(static_cast<std::size_t>(std::max(n_threads, 1)));
    const bool same = x.data == z.data && x.rows == z.rows;
    const double work =
        static_cast<double>(x.rows * z.rows) * (static_cast<double>(x.cols) + detail::kProfileWork);
    detail::parallel_for(n_tiles, detail::team_for(work, n_threads), [&](Index t, int worker) {
        const Index first = t * tile;
        const Index rows = std::min(tile, x.rows - first);
        detail::AlignedVector<T>& mine = scratch[static_cast<std::size_t>(worker)];
        mine.resize(static_cast<std::size_t>(op.scratch(tile)));
        op.gram({x.row(first), rows, x.cols, x.stride},
                {out.row(first), rows, out.cols, out.stride}, mine.data());
        if (same) {
            for (Index i = first; i < first + rows; ++i) {
                out(i, i) = T(1);
            }
        }
    });
}

template <class T>
void evaluate_profile(const Profile& profile, T* r2, Index n) {
    detail::simd().get<T>().evaluate_profile(profile, r2, r2, n);
}

template void evaluate_profile(const Profile&, float*, Index);
template void evaluate_profile(const Profile&, double*, Index);
template void gram(MatrixView<const float>, MatrixView<const float>, const Profile&,
                   MatrixView<float>, int);
template void gram(MatrixView<const double>, MatrixView<const double>, const Profile&,
                   MatrixView<double>, int);

}  // namespace kflow
