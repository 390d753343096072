#include "kflow/product.hpp"

#include <algorithm>
#include <vector>

#include "core/aligned.hpp"
#include "core/parallel.hpp"
#include "core/row_groups.hpp"
#include "core/simd_table.hpp"

namespace kflow {

template <class T>
void product(MatrixView<const T> x, MatrixView<const T> a, MatrixView<T> out, int n_threads) {
    const auto& routines = detail::simd().get<T>();
    detail::RowGroups<T> left;
    left.set_transposed(a);
    const std::vector<T> nothing(static_cast<std::size_t>(x.cols), T(0));
    const Index n_panels = (x.rows + routines.panel - 1) / routines.panel;
    struct Scratch {
        detail::AlignedVector<T> points, norms, product;
    };
    std::vector<Scratch> scratch(static_cast<std::size_t>(std::max(n_threads, 1)));
    const double work = static_cast<double>(x.rows * x.cols) * static_cast<double>(a.cols);
    detail::parallel_for(n_panels, detail::team_for(work, n_threads), [&](Index p, int worker) {
        Scratch& mine = scratch[static_cast<std::size_t>(worker)];
        mine.points.resize(static_cast<std::size_t>(x.cols * routines.panel));
        mine.norms.resize(static_cast<std::size_t>(routines.panel));
        mine.product.resize(static_cast<std::size_t>(a.cols * routines.panel));
        const Index first = p * routines.panel;
        const Index rows = std::min(routines.panel, x.rows - first);
        routines.pack({x.row(first), rows, x.cols, x.stride}, nothing.data(), mine.points.data(),
                      mine.norms.data());
        left.multiply(mine.points.data(), 1, mine.product.data());
        routines.unpack(mine.product.data(), {out.row(first), rows, out.cols, out.stride});
    });
}

template void product(MatrixView<const float>, MatrixView<const float>, MatrixView<float>, int);
template void product(MatrixView<const double>, MatrixView<const double>, MatrixView<double>, int);

}  // namespace kflow
