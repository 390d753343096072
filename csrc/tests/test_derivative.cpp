#include <cmath>
#include <limits>
#include <string>

#include "check.hpp"
#include "kflow/derivative.hpp"
#include "naive.hpp"

using namespace kflow;
using namespace kflow::test;

namespace {

using naive::Real;
using naive::Reals;

// 2 k'(|x_i - z_j|^2) of all pairs
template <class T>
Reals slopes(const Matrix<T>& x, const Matrix<T>& z, const Profile& profile) {
    Reals out(x.rows(), z.rows());
    for (Index i = 0; i < x.rows(); ++i) {
        for (Index j = 0; j < z.rows(); ++j) {
            Real r2 = 0;
            for (Index k = 0; k < x.cols(); ++k) {
                const Real difference = Real(x(i, k)) - Real(z(j, k));
                r2 += difference * difference;
            }
            out(i, j) = 2 * naive::slope(profile, r2);
        }
    }
    return out;
}

// push: sum_j s_ij ((x_i - z_j).a_i) c_j; else sum_j s_ij (c_j.a_i) (x_i - z_j)
template <class T>
Reals reference(const Matrix<T>& x, const Matrix<T>& z, const Matrix<T>& c, const Profile& profile,
                const Matrix<T>& a, const Matrix<T>* base, bool push) {
    const Reals slope = slopes(x, z, profile);
    Reals out(x.rows(), push ? c.cols() : x.cols());
    for (Index i = 0; i < x.rows(); ++i) {
        for (Index j = 0; j < z.rows(); ++j) {
            Real product = 0;
            for (Index k = 0; k < a.cols(); ++k) {
                const Real other = push ? Real(x(i, k)) - Real(z(j, k)) : Real(c(j, k));
                product += other * Real(a(i, k));
            }
            for (Index k = 0; k < out.cols(); ++k) {
                const Real other = push ? Real(c(j, k)) : Real(x(i, k)) - Real(z(j, k));
                out(i, k) += slope(i, j) * product * other;
            }
        }
        for (Index k = 0; base != nullptr && k < out.cols(); ++k) {
            out(i, k) += Real((*base)(i, k));
        }
    }
    return out;
}

template <class T>
Matrix<T> engine(const Matrix<T>& x, const Matrix<T>& z, const Matrix<T>& c, const Profile& profile,
                 const Matrix<T>& a, const Matrix<T>* base, bool push, int n_threads = 1) {
    Matrix<T> out(x.rows(), push ? c.cols() : x.cols(), T(-7));
    const MatrixView<const T> added = base != nullptr ? base->view() : MatrixView<const T>();
    (push ? push_forward<T> : pull_back<T>)(x.view(), z.view(), c.view(), profile, a.view(), added,
                                            out.view(), n_threads);
    return out;
}

template <class T>
void shapes(Index d) {
    const auto epsilon = static_cast<double>(std::numeric_limits<T>::epsilon());
    for (Index q : {Index(0), Index(1), Index(7), d}) {
        const Scope scope("d " + std::to_string(d) + " q " + std::to_string(q));
        for (Index n : {0, 1, 37}) {
            for (Index m : {0, 1, 97}) {
                const Matrix<T> x = random_matrix<T>(n, d, 1), z = random_matrix<T>(m, d, 2);
                const Matrix<T> c = random_matrix<T>(m, q, 3);
                for (bool push : {true, false}) {
                    const Matrix<T> a = random_matrix<T>(n, push ? d : q, 4);
                    const Matrix<T> base = random_matrix<T>(n, push ? q : d, 5);
                    for (const Profile& profile :
                         naive::radial_profiles(std::sqrt(static_cast<double>(d + 1)))) {
                        if (d == 0 && traits(profile.family).at_zero == AtZero::steep) {
                            continue;  // no distance but zero, where it has no slope
                        }
                        const Reals plain = reference<T>(x, z, c, profile, a, nullptr, push);
                        const Reals on_base = reference<T>(x, z, c, profile, a, &base, push);
                        const double each = traits(profile.family).at_zero == AtZero::steep
                                                ? 64 * std::pow(epsilon, 0.8)
                                                : 256 * epsilon;
                        const Real most = each * static_cast<double>((m + 1) * (d + q + 1));
                        for_each_level([&] {
                            CHECK(distance(engine<T>(x, z, c, profile, a, nullptr, push), plain) <=
                                  most);
                            CHECK(distance(engine(x, z, c, profile, a, &base, push), on_base) <=
                                  most);
                        });
                    }
                }
            }
        }
    }
}

// Far from the origin the differences keep their digits.
template <class T>
void far_away() {
    const Profile profile{Family::gaussian, 2.0, 1.0};
    const double far = 1000.0, epsilon = static_cast<double>(std::numeric_limits<T>::epsilon());
    for (Index d : {2, 9}) {
        const Matrix<T> x = random_matrix<T>(20, d, 1, far), z = random_matrix<T>(30, d, 2, far);
        const Matrix<T> c = random_matrix<T>(30, d, 3), a = random_matrix<T>(20, d, 4);
        for (bool push : {true, false}) {
            const Reals expected = reference<T>(x, z, c, profile, a, nullptr, push);
            CHECK(distance(engine<T>(x, z, c, profile, a, nullptr, push), expected) <=
                  4e3 * epsilon);
        }
    }
}

// A layer's derivative changes the first q columns, in place; the vectors lie in wider rows.
template <class T>
void in_place() {
    const Profile profile{Family::matern52, 2.0, 1.0};
    const Index n = 200, m = 50, d = 9, q = 6;
    const Matrix<T> x = random_matrix<T>(n, d, 1), z = random_matrix<T>(m, d, 2);
    const Matrix<T> c = random_matrix<T>(m, q, 3), a = random_matrix<T>(n, d, 4);
    Matrix<T> narrow(n, q);
    for (Index i = 0; i < n; ++i) {
        std::copy_n(a.view().row(i), q, narrow.view().row(i));
    }
    Matrix<T> out = a;
    pull_back<T>(x.view(), z.view(), c.view(), profile, {out.data(), n, q, d}, out.view(),
                 out.view(), 2);
    CHECK(out == engine(x, z, c, profile, narrow, &a, false));

    const MatrixView<T> moving(out.data(), n, q, d);
    out = a;
    push_forward<T>(x.view(), z.view(), c.view(), profile, out.view(), moving, moving, 2);
    const Matrix<T> moved = engine(x, z, c, profile, a, &narrow, true);
    for (Index i = 0; i < n; ++i) {
        for (Index k = 0; k < d; ++k) {
            CHECK(out(i, k) == (k < q ? moved(i, k) : a(i, k)));
        }
    }
}

template <class T>
void thread_counts() {
    const Profile profile{Family::rational_quadratic, 2.0, 1.7};
    const Matrix<T> x = random_matrix<T>(300, 5, 1), z = random_matrix<T>(200, 5, 2);
    const Matrix<T> c = random_matrix<T>(200, 5, 3), a = random_matrix<T>(300, 5, 4);
    for (bool push : {true, false}) {
        const Matrix<T> one = engine(x, z, c, profile, a, &a, push);
        for (int n_threads : {-1, 0, 2, 3, 8}) {
            CHECK(engine(x, z, c, profile, a, &a, push, n_threads) == one);
        }
    }
}

}  // namespace

int main() {
    for_each_precision([](auto zero) {
        using T = decltype(zero);
        for (Index d : {0, 1, 2, 5, 8, 33}) {
            shapes<T>(d);
        }
        for_each_level([] {
            far_away<T>();
            in_place<T>();
            thread_counts<T>();
        });
    });
    return result();
}
