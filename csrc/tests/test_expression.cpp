#include <cmath>
#include <limits>
#include <string>

#include "check.hpp"
#include "kflow/expression.hpp"
#include "naive.hpp"

using namespace kflow;
using namespace kflow::test;
using naive::Real;
using naive::Reals;

namespace {

Term leaf(const Profile& profile, Index source, double factor) {
    Term term;
    term.operation = Operation::leaf;
    term.profile = profile;
    term.source = source;
    term.factor = factor;
    return term;
}

Term node(Operation operation, Index left, Index right, double factor) {
    Term term;
    term.operation = operation;
    term.left = left;
    term.right = right;
    term.factor = factor;
    return term;
}

// 0.9 ((2 gaussian(u0) + 0.5 rational(u1)) (1.5 polynomial(u0)) + 3) + given
Expression example() {
    Term constant, given;
    constant.factor = 3.0;
    given.operation = Operation::given;
    given.source = 0;
    return {{leaf({Family::gaussian, 1.3, 1.0, 1}, 0, 2.0),
             leaf({Family::rational_quadratic, 1.7, 0.8, 1}, 1, 0.5),
             node(Operation::sum, 0, 1, 1.0), leaf({Family::polynomial, 2.0, 0.7, 2}, 0, 1.5),
             node(Operation::product, 2, 3, 1.0), constant, node(Operation::sum, 4, 5, 0.9), given,
             node(Operation::sum, 6, 7, 1.0)}};
}

Real leaf_value(const Profile& profile, const Reals& u, Index i, const Reals& v, Index j) {
    Real squares = 0, product = 0;
    for (Index k = 0; k < u.cols(); ++k) {
        squares += (u(i, k) - v(j, k)) * (u(i, k) - v(j, k));
        product += u(i, k) * v(j, k);
    }
    return naive::value(profile,
                        traits(profile.family).argument == Argument::product ? product : squares);
}

// By recursion over the terms, entry by entry.
Real value(const Expression& e, Index term, const std::vector<Reals>& u, Index i,
           const std::vector<Reals>& v, Index j, const Reals& given) {
    const Term& t = e.terms[static_cast<std::size_t>(term)];
    const auto part = [&](Index number) { return value(e, number, u, i, v, j, given); };
    const auto source = static_cast<std::size_t>(t.source);
    switch (t.operation) {
        case Operation::leaf:
            return t.factor * leaf_value(t.profile, u[source], i, v[source], j);
        case Operation::constant:
            return t.factor;
        case Operation::given:
            return t.factor * given(i, j);
        case Operation::sum:
            return t.factor * (part(t.left) + part(t.right));
        case Operation::product:
            return t.factor * part(t.left) * part(t.right);
    }
    return NAN;
}

Reals matrix(const Expression& e, const std::vector<Reals>& u, const std::vector<Reals>& v,
             const Reals& given, Index n, Index m) {
    Reals out(n, m);
    for (Index i = 0; i < n; ++i) {
        for (Index j = 0; j < m; ++j) {
            out(i, j) = value(e, Index(e.terms.size()) - 1, u, i, v, j, given);
        }
    }
    return out;
}

template <class T>
struct Case {
    std::vector<Matrix<T>> u, v;
    Matrix<T> given;

    Case(Index n, Index m, Index d)
        : u{random_matrix<T>(n, d, 1), random_matrix<T>(n, d + 1, 2)},
          v{random_matrix<T>(m, d, 3), random_matrix<T>(m, d + 1, 4)},
          given(random_matrix<T>(n, m, 5)) {}

    static Matrices<T> views(const std::vector<Matrix<T>>& all) {
        Matrices<T> out;
        for (const Matrix<T>& a : all) {
            out.push_back(a.view());
        }
        return out;
    }
    static std::vector<Reals> reals(const std::vector<Matrix<T>>& all) {
        std::vector<Reals> out;
        for (const Matrix<T>& a : all) {
            out.push_back(cast<Real>(a));
        }
        return out;
    }
};

template <class T>
void values() {
    const Expression e = example();
    const auto epsilon = static_cast<Real>(std::numeric_limits<T>::epsilon());
    for (const Index d : {1, 3, 9}) {
        for (const Index n : {0, 1, 17, 96, 110}) {
            for (const Index m : {0, 1, 33}) {
                const Scope scope(std::to_string(n) + " x " + std::to_string(m) + ", d " +
                                  std::to_string(d));
                const Case<T> c(n, m, d);
                const Reals expected =
                    matrix(e, c.reals(c.u), c.reals(c.v), cast<Real>(c.given), n, m);
                const Real allowed = 400 * epsilon * (1 + largest(expected));
                Matrix<T> out(n, m, T(-7)), again(n, m);
                evaluate<T>(e, c.views(c.u), c.views(c.v), {c.given.view()}, out.view(), 1);
                CHECK(distance(out, expected) <= allowed);
                evaluate<T>(e, c.views(c.u), c.views(c.v), {c.given.view()}, again.view(), 2);
                CHECK(out == again);

                const Matrix<T> coefficients = random_matrix<T>(m, 2, 6);
                Matrix<T> product(n, 2, T(-7));
                apply<T>(e, c.views(c.u), c.views(c.v), {c.given.view()}, coefficients.view(),
                         product.view(), 2);
                Reals sum(n, 2);
                for (Index i = 0; i < n; ++i) {
                    for (Index j = 0; j < m; ++j) {
                        for (Index q = 0; q < 2; ++q) {
                            sum(i, q) += expected(i, j) * Real(coefficients(j, q));
                        }
                    }
                }
                CHECK(distance(product, sum) <= 3 * Real(m + 1) * allowed);
            }
        }
    }
}

// Central differences of sum g k(x, x).
void derivatives() {
    const Index n = 37;
    for (const Index d : {2, 8}) {
        const Scope scope("d " + std::to_string(d));
        Expression e = example();
        Case<double> c(n, n, d);
        Matrix<double> g = random_matrix<double>(n, n, 7);
        for (Index i = 0; i < n; ++i) {
            for (Index j = 0; j < i; ++j) {
                g(i, j) = g(j, i);
                c.given(i, j) = c.given(j, i);
            }
        }
        const auto loss = [&] {
            const auto u = c.reals(c.u);
            const Reals k = matrix(e, u, u, cast<Real>(c.given), n, n);
            Real sum = 0;
            for (Index i = 0; i < n; ++i) {
                for (Index j = 0; j < n; ++j) {
                    sum += Real(g(i, j)) * k(i, j);
                }
            }
            return sum;
        };
        const auto difference = [&](double& number) {
            const double before = number, step = 1e-6;
            number = before + step;
            const Real above = loss();
            number = before - step;
            const Real below = loss();
            number = before;
            return static_cast<double>((above - below) / (2 * Real(step)));
        };
        const auto close = [](double got, double expected) {
            return std::abs(got - expected) <= 1e-6 * (1 + std::abs(expected));
        };

        Matrix<double> d0(n, d), d1(n, d + 1), dk(n, n);
        const ExpressionGradient whole = contract(e, c.views(c.u), {c.given.view()}, g.view(),
                                                  {d0.view(), d1.view()}, {dk.view()}, 2);
        for (std::size_t i = 0; i < e.terms.size(); ++i) {
            const Scope term("term " + std::to_string(i));
            Term& t = e.terms[i];
            CHECK(close(whole.factor[i] / t.factor, difference(t.factor)));
            if (t.operation == Operation::leaf) {
                CHECK(close(whole.length_scale[i] / t.profile.length_scale,
                            difference(t.profile.length_scale)));
                if (traits(t.profile.family).alpha != Alpha::unused) {
                    CHECK(close(whole.shape[i], difference(t.profile.alpha)));
                }
            }
        }
        for (const Index i : {0, 16, 36}) {
            CHECK(close(d0(i, d - 1), difference(c.u[0](i, d - 1))));
            CHECK(close(d1(i, 0), difference(c.u[1](i, 0))));
            CHECK(close(dk(i, 3), difference(c.given(i, 3))));
        }

        // Only the numbers: half of the tiles, the same sums.
        e.terms.resize(7);
        const ExpressionGradient half = contract(
            e, c.views(c.u), {}, g.view(), {MatrixView<double>(), MatrixView<double>()}, {}, 1);
        for (std::size_t i = 0; i < e.terms.size(); ++i) {
            CHECK(close(half.factor[i], whole.factor[i]));
            CHECK(close(half.length_scale[i], whole.length_scale[i]));
            CHECK(close(half.shape[i], whole.shape[i]));
        }
    }
}

void families() {
    for (const FamilyTraits& family : kFamilies) {
        const Scope scope(family.name);
        for (int degree = 1; degree <= (family.degree == Degree::used ? 5 : 1); ++degree) {
            const Expression e{{leaf({family.family, 1.8, 0.5, degree}, 0, 1.0)}};
            Case<double> c(20, 20, 3);
            Matrix<double> out(20, 20);
            evaluate<double>(e, {c.u[0].view()}, {c.v[0].view()}, {}, out.view(), 1);
            const Reals expected = matrix(e, c.reals(c.u), c.reals(c.v), {}, 20, 20);
            CHECK(distance(out, expected) <= 1e-14 * (1 + largest(expected)));
        }
    }
}

}  // namespace

int main() {
    for_each_level([] {
        for_each_precision([](auto zero) { values<decltype(zero)>(); });
        derivatives();
        families();
    });
    return result();
}
