#include "core/cholesky.hpp"

#include <algorithm>
#include <limits>
#include <vector>

#include "core/parallel.hpp"
#include "core/simd_table.hpp"

namespace kflow::detail {

void Cholesky::resize(Index n) {
    n_ = n;
    width_ = simd().f64.panel;
    data_.assign(static_cast<std::size_t>(elements_of(n)), 0.0);
}

bool Cholesky::factor(int n_threads) {
    std::vector<double> diagonal(static_cast<std::size_t>(n_));
    for (Index i = 0; i < n_; ++i) {
        diagonal[static_cast<std::size_t>(i)] = (*this)(i, i);
    }
    if (!eliminate_all(n_threads)) {
        return false;
    }
    // Relative to each pivot's own entry, because the errors of a factor are: it does not care how
    // rows and columns are scaled.
    const double noise = static_cast<double>(n_) * std::numeric_limits<double>::epsilon();
    for (Index i = 0; i < n_; ++i) {
        const double root = (*this)(i, i);
        if (!(root * root > noise * diagonal[static_cast<std::size_t>(i)])) {
            return false;
        }
    }
    return true;
}

bool Cholesky::eliminate_all(int n_threads) {
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

void Cholesky::solve(MatrixView<double> b, AlignedVector<double>& panels, int n_threads) const {
    const int team =
        team_for(static_cast<double>(n_ * n_) * static_cast<double>(b.cols), n_threads);
    panels.resize(static_cast<std::size_t>(elements_of(b.cols)));
    to_panels(b, width_, panels.data());
    parallel_for(panels_of(b.cols), team, [&](Index p, int) {
        double* panel = panels.data() + p * n_ * width_;
        forward(panel, 1);
        backward(panel, 1, n_);
    });
    from_panels(panels.data(), width_, b);
}

void Cholesky::invert(double* diagonal, double* inverse, int n_threads) const {
    const auto& routines = simd().f64;
    const Index n_panels = panels_of(n_);
    const double work = static_cast<double>(n_ * n_) * static_cast<double>(n_) / 6.0;
    const int team = team_for(inverse == nullptr ? work : 2.0 * work, n_threads);
    std::vector<AlignedVector<double>> scratch(static_cast<std::size_t>(std::max(team, 1)));
    // Above its own rows a panel of U'^-1 is zero, and below them it needs no more of A^-1 than the
    // lower triangle: all happens in the trailing block of U, whose panels lie like those of U.
    parallel_for(n_panels, team, [&](Index p, int worker) {
        const Index first = p * width_, rows = n_ - first, columns = std::min(width_, rows);
        double* own = inverse;
        if (inverse == nullptr) {
            auto& mine = scratch[static_cast<std::size_t>(worker)];
            mine.resize(static_cast<std::size_t>(n_ * width_));
            own = mine.data();
        } else {
            own += p * n_ * width_;
        }
        own += first * width_;
        std::fill(own, own + rows * width_, 0.0);
        for (Index lane = 0; lane < columns; ++lane) {
            own[lane * width_ + lane] = 1.0;
        }
        const double* trailing = panel(p) + first * width_;
        routines.eliminate(trailing, n_, 0, rows, own, false);
        // A sum of squares has more right digits than what the substitution leaves there.
        double* squares = diagonal + first;
        std::fill(squares, squares + columns, 0.0);
        for (Index i = 0; i < rows; ++i) {
            for (Index lane = 0; lane < columns; ++lane) {
                squares[lane] += own[i * width_ + lane] * own[i * width_ + lane];
            }
        }
        if (inverse == nullptr) {
            return;
        }
        routines.back_substitute(trailing, n_, rows, own);
        for (Index lane = 0; lane < columns; ++lane) {
            own[lane * width_ + lane] = squares[lane];
            for (Index other = lane + 1; other < columns; ++other) {
                own[lane * width_ + other] = own[other * width_ + lane];
            }
        }
    });
    if (inverse != nullptr) {
        parallel_for(n_panels, team, [&](Index p, int) {
            for (Index q = 0; q < p; ++q) {
                const Index columns = std::min(width_, n_ - p * width_);
                routines.unpack(
                    inverse + (q * n_ + p * width_) * width_,
                    {inverse + (p * n_ + q * width_) * width_, width_, columns, width_});
            }
        });
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
