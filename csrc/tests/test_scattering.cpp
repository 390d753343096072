#include <cmath>
#include <complex>
#include <limits>
#include <stdexcept>
#include <string>

#include "check.hpp"
#include "kflow/scattering.hpp"
#include "matrix.hpp"

using namespace kflow;
using namespace kflow::test;

namespace {

using Real = long double;
using Complex = std::complex<Real>;

constexpr Real kTurn = 6.283185307179586476925286766559L;

/// One scale and one angle: the convolution with a wavelet by its definition.
template <class T>
ScatteringFilters<T> one_wave(Index rows, Index cols) {
    ScatteringFilters<T> f{};
    f.height = f.rows = rows;
    f.width = f.cols = cols;
    for (Index i = 0; i < rows; ++i) {
        f.row_of.push_back(i);
    }
    for (Index i = 0; i < cols; ++i) {
        f.col_of.push_back(i);
    }
    f.n_scales = f.n_angles = f.max_order = 1;
    f.out_height = 2;
    f.out_width = 1;
    const auto numbers = [](Index n, unsigned seed) {
        const Matrix<T> drawn = random_matrix<T>(1, n, seed);
        return std::vector<T>(drawn.view().row(0), drawn.view().row(0) + n);
    };
    f.waves = {numbers(rows * cols, 1)};
    f.smooth_rows = {numbers(2 * rows, 2)};
    f.smooth_cols = {numbers(cols, 3)};
    return f;
}

template <class T>
void against_definition(Index rows, Index cols) {
    const Scope scope(std::to_string(rows) + " x " + std::to_string(cols));
    const ScatteringFilters<T> f = one_wave<T>(rows, cols);
    const Matrix<T> x = random_matrix<T>(3, rows * cols, 4);
    Matrix<T> out(3, 4, T(-7));
    Scattering<T>(f).transform(x.view(), out.view(), 2);
    const auto root = [](Index product, Index n) {
        return std::polar(Real(1), kTurn * static_cast<Real>(product % n) / static_cast<Real>(n));
    };
    Matrix<Real> expected(3, 4, 0);
    for (Index image = 0; image < 3; ++image) {
        std::vector<Complex> spectrum;
        for (Index k = 0; k < rows * cols; ++k) {
            Complex sum = 0;
            for (Index i = 0; i < rows * cols; ++i) {
                sum +=
                    static_cast<Real>(x(image, i)) * std::conj(root(i / cols * (k / cols), rows) *
                                                               root(i % cols * (k % cols), cols));
            }
            spectrum.push_back(sum * static_cast<Real>(f.waves[0][static_cast<std::size_t>(k)]));
        }
        for (Index i = 0; i < rows * cols; ++i) {
            Complex wave = 0;
            for (Index k = 0; k < rows * cols; ++k) {
                wave += spectrum[static_cast<std::size_t>(k)] * root(i / cols * (k / cols), rows) *
                        root(i % cols * (k % cols), cols);
            }
            for (Index r = 0; r < 2; ++r) {
                const Real weight =
                    static_cast<Real>(
                        f.smooth_rows[0][static_cast<std::size_t>(r * rows + i / cols)]) *
                    static_cast<Real>(f.smooth_cols[0][static_cast<std::size_t>(i % cols)]);
                expected(image, r) += weight * static_cast<Real>(x(image, i));
                expected(image, 2 + r) += weight * std::abs(wave);
            }
        }
    }
    const auto epsilon = static_cast<Real>(std::numeric_limits<T>::epsilon());
    CHECK(distance(out, expected) <= 100 * epsilon * largest(expected));
}

template <class T>
bool is_refused(const ScatteringFilters<T>& filters) {
    try {
        const Scattering<T> made(filters);
    } catch (const std::invalid_argument&) {
        return true;
    }
    return false;
}

void parts_that_do_not_fit() {
    const ScatteringFilters<double> right = one_wave<double>(4, 6);
    CHECK(!is_refused(right));
    auto wrong = right;
    wrong.waves[0].pop_back();
    CHECK(is_refused(wrong));
    wrong = right;
    wrong.row_of[2] = 4;
    CHECK(is_refused(wrong));
    wrong = right;
    wrong.n_scales = 2;
    CHECK(is_refused(wrong));
    wrong = right;
    wrong.smooth_cols.clear();
    CHECK(is_refused(wrong));
}

}  // namespace

int main() {
    parts_that_do_not_fit();
    for_each_precision([](auto zero) {
        using T = decltype(zero);
        for_each_level([] {
            // Every radix, alone and after others.
            for (Index rows : {2, 4, 8, 6, 10, 12, 14, 22}) {
                against_definition<T>(rows, 2);
                against_definition<T>(6, rows);
            }
        });
    });
    return result();
}
