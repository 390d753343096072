#include <cmath>
#include <limits>
#include <string>

#include "check.hpp"
#include "kflow/gram.hpp"
#include "naive.hpp"

using namespace kflow;
using namespace kflow::test;

namespace {

// What rounding may do to k when r^2 comes from a gemm: a steep profile amplifies it where points
// are close, and sums the closest pairs directly.
template <class T>
double tolerance(const Profile& profile) {
    const auto epsilon = static_cast<double>(std::numeric_limits<T>::epsilon());
    return traits(profile.family).at_zero == AtZero::steep ? 8 * std::pow(epsilon, 0.8)
                                                           : 64 * epsilon;
}

template <class T>
Matrix<T> engine(const Matrix<T>& x, const Matrix<T>& z, const Profile& profile,
                 int n_threads = 1) {
    Matrix<T> out(x.rows(), z.rows(), T(-7));
    gram<T>(x.view(), z.view(), profile, out.view(), n_threads);
    return out;
}

template <class T>
void shapes(Index d, double centre) {
    const Scope scope("d " + std::to_string(d));
    for (Index n : {0, 1, 2, 7, 37}) {
        for (Index m : {0, 1, 5, 31, 32, 47}) {
            const Matrix<T> x = random_matrix<T>(n, d, 1, centre);
            const Matrix<T> z = random_matrix<T>(m, d, 2, centre);
            for (const Profile& profile :
                 naive::radial_profiles(std::sqrt(static_cast<double>(d + 1)))) {
                const naive::Reals expected = naive::gram(x, z, profile);
                for_each_level([&] {
                    CHECK(distance(engine(x, z, profile), expected) <= tolerance<T>(profile));
                });
            }
        }
    }
}

template <class T>
void the_diagonal_is_one() {
    for (Index d : {2, 33}) {
        const Matrix<T> x = random_matrix<T>(41, d, 3);
        for (const Profile& profile : naive::radial_profiles(0.3)) {
            const Matrix<T> k = engine(x, x, profile);
            for (Index i = 0; i < x.rows(); ++i) {
                CHECK(k(i, i) == T(1));
            }
        }
    }
}

// Pairs that all but coincide, which the gemm's cancellation would blur.
template <class T>
void close_pairs() {
    const Matrix<T> x = random_matrix<T>(19, 33, 4);
    Matrix<T> z = x;
    for (Index i = 0; i < z.rows(); ++i) {
        z(i, i) += T(1e-3);
    }
    for (const Profile& profile : naive::radial_profiles(5.0)) {
        CHECK(distance(engine(x, z, profile), naive::gram(x, z, profile)) <= tolerance<T>(profile));
    }
}

template <class T>
void strides() {
    for (Index d : {2, 9}) {
        const Index n = 11, m = 6;
        Matrix<T> x = random_matrix<T>(n, d + 3, 5), z = random_matrix<T>(m, d + 2, 6);
        Matrix<T> out(n, m + 4, T(-7));
        const Profile profile{Family::gaussian, 2.0, 1.0};
        gram<T>({x.data(), n, d, d + 3}, {z.data(), m, d, d + 2}, profile,
                {out.data(), n, m, m + 4}, 1);
        Matrix<T> expected(n, m + 4, T(-7));
        for (Index i = 0; i < n; ++i) {
            for (Index j = 0; j < m; ++j) {
                long double r2 = 0;
                for (Index k = 0; k < d; ++k) {
                    r2 += std::pow(static_cast<long double>(x(i, k)) - z(j, k), 2);
                }
                expected(i, j) = static_cast<T>(naive::value(profile, r2));
            }
        }
        CHECK(distance(out, expected) <= tolerance<T>(profile));
    }
}

template <class T>
void thread_counts() {
    for (Index d : {3, 9}) {
        const Matrix<T> x = random_matrix<T>(1600, d, 7), z = random_matrix<T>(45, d, 8);
        const Profile profile{Family::laplacian, 2.0, 1.0};
        const Matrix<T> one = engine(x, z, profile);
        for (int n_threads : {-1, 0, 2, 3, 8}) {
            CHECK(engine(x, z, profile, n_threads) == one);
        }
    }
}

template <class T>
void not_a_number() {
    for (Index d : {2, 9}) {
        Matrix<T> x = random_matrix<T>(3, d, 9);
        x(1, 0) = std::numeric_limits<T>::quiet_NaN();
        const Matrix<T> z = random_matrix<T>(40, d, 10);
        for (const Profile& profile : naive::radial_profiles(1.0)) {
            const Matrix<T> k = engine(x, z, profile);
            for (Index j = 0; j < z.rows(); ++j) {
                CHECK(std::isfinite(k(0, j)) && std::isnan(k(1, j)) && std::isfinite(k(2, j)));
            }
        }
    }
}

}  // namespace

int main() {
    for_each_precision([](auto zero) {
        using T = decltype(zero);
        for (Index d : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 33}) {
            shapes<T>(d, 0.0);
        }
        shapes<T>(2, 1000.0);
        shapes<T>(9, 1000.0);
        for_each_level([] {
            the_diagonal_is_one<T>();
            close_pairs<T>();
            strides<T>();
            thread_counts<T>();
            not_a_number<T>();
        });
    });
    return result();
}
