#include <cmath>
#include <limits>
#include <string>

#include "check.hpp"
#include "kflow/apply.hpp"
#include "naive.hpp"

using namespace kflow;
using namespace kflow::test;

namespace {

constexpr double kStep = -0.3;

// Of one kernel value, as in the test of gram; the sum over m centres adds up.
template <class T>
long double tolerance(const Profile& profile, Index m) {
    const auto epsilon = static_cast<double>(std::numeric_limits<T>::epsilon());
    const double each =
        traits(profile.family).at_zero == AtZero::steep ? 8 * std::pow(epsilon, 0.8) : 64 * epsilon;
    return each * static_cast<double>(m + 1);
}

template <class T>
Matrix<T> engine(const Matrix<T>& x, const Matrix<T>& z, const Matrix<T>& c, const Profile& profile,
                 const Matrix<T>* base, int n_threads = 1) {
    Matrix<T> out(x.rows(), c.cols(), T(-7));
    apply<T>(x.view(), z.view(), c.view(), profile, kStep,
             base != nullptr ? base->view() : MatrixView<const T>(), out.view(), n_threads);
    return out;
}

template <class T>
naive::Reals reference(const Matrix<T>& x, const Matrix<T>& z, const Matrix<T>& c,
                       const Profile& profile, const Matrix<T>* base) {
    naive::Reals out = naive::product(naive::gram(x, z, profile), c);
    for (Index i = 0; i < out.rows(); ++i) {
        for (Index k = 0; k < out.cols(); ++k) {
            out(i, k) = kStep * out(i, k) +
                        (base != nullptr ? static_cast<long double>((*base)(i, k)) : 0.0L);
        }
    }
    return out;
}

template <class T>
void shapes(Index d) {
    for (Index q : {Index(0), Index(1), Index(2), Index(7), d}) {
        const Scope scope("d " + std::to_string(d) + " q " + std::to_string(q));
        for (Index n : {0, 1, 7, 37}) {
            for (Index m : {0, 1, 31, 47}) {
                const Matrix<T> x = random_matrix<T>(n, d, 1), z = random_matrix<T>(m, d, 2);
                const Matrix<T> c = random_matrix<T>(m, q, 3), base = random_matrix<T>(n, q, 4);
                for (const Profile& profile :
                     naive::radial_profiles(std::sqrt(static_cast<double>(d + 1)))) {
                    const naive::Reals expected = reference<T>(x, z, c, profile, nullptr);
                    const naive::Reals on_base = reference(x, z, c, profile, &base);
                    const long double most = tolerance<T>(profile, m);
                    for_each_level([&] {
                        CHECK(distance(engine<T>(x, z, c, profile, nullptr), expected) <= most);
                        CHECK(distance(engine(x, z, c, profile, &base), on_base) <= most);
                    });
                }
            }
        }
    }
}

// The flow moves points in place: `out` is `base`, or `x`, or both.
template <class T>
void in_place() {
    const Profile profile{Family::matern32, 2.0, 1.0};
    for (Index d : {1, 2, 3, 4, 9}) {
        const Matrix<T> z = random_matrix<T>(45, d, 2), c = random_matrix<T>(45, d, 3);
        const Matrix<T> x = random_matrix<T>(1100, d, 1), base = random_matrix<T>(1100, d, 4);
        Matrix<T> out = base;
        apply<T>(x.view(), z.view(), c.view(), profile, kStep, out.view(), out.view(), 2);
        CHECK(out == engine(x, z, c, profile, &base));
        out = x;
        apply<T>(out.view(), z.view(), c.view(), profile, kStep, out.view(), out.view(), 2);
        CHECK(out == engine(x, z, c, profile, &x));
        out = x;
        apply<T>(out.view(), z.view(), c.view(), profile, kStep, {}, out.view(), 2);
        CHECK(out == engine<T>(x, z, c, profile, nullptr));
    }
}

template <class T>
void strides() {
    const Profile profile{Family::gaussian, 2.0, 1.0};
    for (Index d : {2, 9}) {
        const Index n = 13, m = 10, wide = d + 3;
        const Matrix<T> x = random_matrix<T>(n, d, 1), z = random_matrix<T>(m, d, 2),
                        c = random_matrix<T>(m, d, 3);
        const auto widened = [&](const Matrix<T>& a) {
            Matrix<T> out(a.rows(), wide, T(-7));
            for (Index i = 0; i < a.rows(); ++i) {
                std::copy_n(a.view().row(i), d, out.view().row(i));
            }
            return out;
        };
        Matrix<T> x_wide = widened(x), z_wide = widened(z), c_wide = widened(c);
        Matrix<T> out(n, wide, T(-7));
        apply<T>({x_wide.data(), n, d, wide}, {z_wide.data(), m, d, wide},
                 {c_wide.data(), m, d, wide}, profile, kStep, {x_wide.data(), n, d, wide},
                 {out.data(), n, d, wide}, 1);
        CHECK(out == widened(engine(x, z, c, profile, &x)));
    }
}

// As many rows as make many tiles, also with so many centres that a tile is short.
template <class T>
void thread_counts() {
    const Profile profile{Family::rational_quadratic, 2.0, 1.7};
    for (Index d : {2, 5, 9}) {
        for (Index m : {45, 4500}) {
            const Matrix<T> x = random_matrix<T>(m == 45 ? 1600 : 70, d, 1);
            const Matrix<T> z = random_matrix<T>(m, d, 2), c = random_matrix<T>(m, d, 3);
            const naive::Reals expected = reference(x, z, c, profile, &x);
            for_each_level([&] {
                const Matrix<T> one = engine(x, z, c, profile, &x);
                CHECK(distance(one, expected) <= tolerance<T>(profile, m));
                for (int n_threads : {-1, 0, 2, 3, 8}) {
                    CHECK(engine(x, z, c, profile, &x, n_threads) == one);
                }
            });
        }
    }
}

}  // namespace

int main() {
    for_each_precision([](auto zero) {
        using T = decltype(zero);
        for (Index d : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 33}) {
            shapes<T>(d);
        }
        for_each_level([] {
            in_place<T>();
            strides<T>();
        });
        thread_counts<T>();
    });
    return result();
}
