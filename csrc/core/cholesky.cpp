#include "core/cholesky.hpp"

#include <algorithm>

#include "core/parallel.hpp"
#include "core/simd_table.hpp"

namespace kflow::detail {

void Cholesky::resize(Index n) {
    n_ = n;
    width_ = simd().f64.panel;
    data_.assign(static_cast<std::size_t>(elements_of(n)), 0.0);
}

double* Cholesky::panel(Index p) { return data_.data() + p * n_ * width_; }

bool Cholesky::factor(int n_threads) {
    const auto eliminate = simd().f64.eliminate;
    // Rows go in blocks of two panels. Those two find the block's pivots; then all panels to the
    // right are independent of each other.
    const Index block = 2 * width_, n_panels = panels_of(n_);
    const double* u = data_.data();
    const int team =
        team_for(static_cast<double>(n_ * n_) * static_cast<double>(n_) / 6.0, n_threads);
    for (Index begin = 0; begin < n_; begin += block) {
        const Index end = std::min(begin + block, n_), middle = std::min(begin + width_, n_);
        const Index p = begin / width_;
        if (!eliminate(u, n_, begin, middle, panel(p), true)) {
            return false;
        }
        if (middle < end) {
            eliminate(u, n_, begin, middle, panel(p + 1), false);
            if (!eliminate(u, n_, middle, end, panel(p + 1), true)) {
                return false;
            }
        }
        parallel_for(n_panels - (p + 2), team,
                     [&](Index q, int) { eliminate(u, n_, begin, end, panel(p + 2 + q), false); });
    }
    return true;
}

void Cholesky::forward(double* b, Index n_panels) const {
    for (Index p = 0; p < n_panels; ++p) {
        simd().f64.eliminate(data_.data(), n_, 0, n_, b + p * n_ * width_, false);
    }
}

void Cholesky::backward(double* b, Index n_panels, Index leading) const {
    for (Index p = 0; p < n_panels; ++p) {
        simd().f64.back_substitute(data_.data(), n_, leading, b + p * n_ * width_);
    }
}

void to_panels(MatrixView<const double> a, Index width, double* panels) {
    for (Index first = 0; first < a.cols; first += width) {
        const Index columns = std::min(width, a.cols - first);
        for (Index i = 0; i < a.rows; ++i) {
            double* row = panels + (first / width * a.rows + i) * width;
            std::copy(a.row(i) + first, a.row(i) + first + columns, row);
            std::fill(row + columns, row + width, 0.0);
        }
    }
}

void from_panels(const double* panels, Index width, MatrixView<double> a) {
    for (Index first = 0; first < a.cols; first += width) {
        const Index columns = std::min(width, a.cols - first);
        for (Index i = 0; i < a.rows; ++i) {
            const double* row = panels + (first / width * a.rows + i) * width;
            std::copy(row, row + columns, a.row(i) + first);
        }
    }
}

}  // namespace kflow::detail
