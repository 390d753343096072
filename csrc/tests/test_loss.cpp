#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "check.hpp"
#include "kflow/error.hpp"
#include "kflow/loss.hpp"
#include "naive.hpp"

using namespace kflow;
using namespace kflow::test;
using naive::Real;
using naive::Reals;

namespace {

using Doubles = Matrix<double>;
using Rows = std::vector<Index>;

Rows without(Index n, const Rows& rows) {
    Rows out;
    for (Index i = 0; i < n; ++i) {
        if (std::find(rows.begin(), rows.end(), i) == rows.end()) {
            out.push_back(i);
        }
    }
    return out;
}

Reals block(const Reals& a, const Rows& rows, const Rows& columns) {
    Reals out(static_cast<Index>(rows.size()), static_cast<Index>(columns.size()));
    for (Index i = 0; i < out.rows(); ++i) {
        for (Index j = 0; j < out.cols(); ++j) {
            out(i, j) = a(rows[static_cast<std::size_t>(i)], columns[static_cast<std::size_t>(j)]);
        }
    }
    return out;
}

Reals predict(const Reals& a, const Reals& y, const Rows& known, const Rows& wanted) {
    return naive::product(block(a, wanted, known),
                          naive::solve(block(a, known, known), naive::rows_of(y, known)));
}

Real dot(const Reals& a, const Reals& b) {
    Real sum = 0;
    for (Index i = 0; i < a.rows(); ++i) {
        for (Index j = 0; j < a.cols(); ++j) {
            sum += a(i, j) * b(i, j);
        }
    }
    return sum;
}

Real squared_error(const Reals& a, const Reals& y, const Rows& known, const Rows& wanted) {
    Reals error = predict(a, y, known, wanted);
    for (Index i = 0; i < error.rows(); ++i) {
        for (Index q = 0; q < y.cols(); ++q) {
            error(i, q) -= y(wanted[static_cast<std::size_t>(i)], q);
        }
    }
    return dot(error, error);
}

Real rate(const Reals& y, const Matrix<Index>& pairs, Index first, Index n_pairs) {
    Real sum = 0;
    for (Index k = first; k < first + n_pairs; ++k) {
        sum += std::log(naive::squared_distance(y, pairs(k, 0), y, pairs(k, 1))) / 2;
    }
    return sum / static_cast<Real>(n_pairs);
}

Real mean(const Reals& a, const Rows& rows, const Rows& columns) {
    Real sum = 0, count = 0;
    for (Index i : rows) {
        for (Index j : columns) {
            sum += i == j ? 0 : a(i, j);
            count += i != j;
        }
    }
    return sum / count;
}

Real log_det(Reals a) {
    Real sum = 0;
    for (Index k = 0; k < a.rows(); ++k) {
        sum += std::log(a(k, k));
        for (Index i = k + 1; i < a.rows(); ++i) {
            for (Index j = a.rows() - 1; j >= k; --j) {
                a(i, j) -= a(i, k) / a(k, k) * a(k, j);
            }
        }
    }
    return sum;
}

struct Problem {
    Doubles a, y;
    Matrix<Index> halves, pairs;
    Rows folds;

    Rows half(Index h) const {
        const Index* first = halves.view().row(h);
        return Rows(first, first + halves.cols());
    }
};

/// A matrix whose diagonal varies, and subsets of its rows.
Problem problem(Index n, Index m, Index n_halves, Index n_folds) {
    Problem out;
    const Doubles x = random_matrix<double>(n, 3, 1), size = random_matrix<double>(n, 1, 2);
    out.a = cast<double>(naive::gram(x, x, {Family::matern52, 1.5, 1.0}));
    for (Index i = 0; i < n; ++i) {
        for (Index j = 0; j < n; ++j) {
            out.a(i, j) *= std::exp(size(i, 0) + size(j, 0));
        }
        out.a(i, i) += 0.05;
        out.folds.push_back(i * i % n_folds);
    }
    // Products of rounded factors need not be symmetric.
    for (Index i = 0; i < n; ++i) {
        for (Index j = 0; j < i; ++j) {
            out.a(i, j) = out.a(j, i);
        }
    }
    out.y = random_matrix<double>(n, m, 3);
    const Index n_coarse = n / 2, n_pairs = n - n_coarse - 1;
    out.halves = Matrix<Index>(n_halves, n_coarse);
    out.pairs = Matrix<Index>(n_halves * n_pairs, 2);
    for (Index h = 0; h < n_halves; ++h) {
        const Index stride = n % 2 == 0 ? 1 : 2;  // prime to n
        for (Index i = 0; i < n_coarse; ++i) {
            out.halves(h, i) = (h * n_coarse + i * stride + 1) % n;
        }
        const Rows outside = without(n, out.half(h));
        for (Index k = 0; k < n_pairs; ++k) {
            out.pairs(h * n_pairs + k, 0) = outside[static_cast<std::size_t>(k)];
            out.pairs(h * n_pairs + k, 1) = outside[static_cast<std::size_t>(k + 1)];
        }
    }
    return out;
}

struct Loss {
    std::string name;
    std::function<double(const Problem&, const Doubles& a, MatrixView<double>, int)> engine;
    std::function<Real(const Problem&, const Reals& a)> naive;
};

template <class OfHalf>
Real average(const Problem& p, const OfHalf& of_half) {
    Real sum = 0;
    for (Index h = 0; h < p.halves.rows(); ++h) {
        sum += of_half(h, p.half(h));
    }
    return sum / static_cast<Real>(p.halves.rows());
}

Real folds_error(const Problem& p, const Reals& a, const Rows& folds) {
    Real sum = 0;
    for (Index f = 0; f < a.rows(); ++f) {
        Rows fold;
        for (Index i = 0; i < a.rows(); ++i) {
            if (folds[static_cast<std::size_t>(i)] == f) {
                fold.push_back(i);
            }
        }
        if (!fold.empty()) {
            sum += squared_error(a, cast<Real>(p.y), without(a.rows(), fold), fold);
        }
    }
    return sum;
}

std::vector<Loss> losses() {
    std::vector<Loss> out;
    out.push_back({"rho",
                   [](const Problem& p, const Doubles& a, MatrixView<double> gradient, int n) {
                       return loss::rho(a.view(), p.y.view(), p.halves.view(), gradient, n);
                   },
                   [](const Problem& p, const Reals& a) {
                       const Reals y = cast<Real>(p.y);
                       const Real fine = dot(y, naive::solve(a, y));
                       return average(p, [&](Index, const Rows& c) {
                           const Reals z = naive::rows_of(y, c);
                           return 1 - dot(z, naive::solve(block(a, c, c), z)) / fine;
                       });
                   }});
    out.push_back({"e2",
                   [](const Problem& p, const Doubles& a, MatrixView<double> gradient, int n) {
                       return loss::e2(a.view(), p.y.view(), p.halves.view(), gradient, n);
                   },
                   [](const Problem& p, const Reals& a) {
                       return average(p, [&](Index, const Rows& c) {
                           return squared_error(a, cast<Real>(p.y), c, without(a.rows(), c));
                       });
                   }});
    out.push_back({"lyapunov",
                   [](const Problem& p, const Doubles& a, MatrixView<double> gradient, int n) {
                       return loss::lyapunov(a.view(), p.y.view(), p.halves.view(), p.pairs.view(),
                                             gradient, n);
                   },
                   [](const Problem& p, const Reals& a) {
                       const Reals y = cast<Real>(p.y);
                       const Index n_pairs = p.pairs.rows() / p.halves.rows();
                       return average(p, [&](Index h, const Rows& c) {
                           const Reals u = predict(a, y, c, without(a.rows(), {}));
                           const Real difference = rate(u, p.pairs, h * n_pairs, n_pairs) -
                                                   rate(y, p.pairs, h * n_pairs, n_pairs);
                           return difference * difference;
                       });
                   }});
    out.push_back({"kfold",
                   [](const Problem& p, const Doubles& a, MatrixView<double> gradient, int n) {
                       return loss::kfold(a.view(), p.y.view(), p.folds.data(), gradient, n);
                   },
                   [](const Problem& p, const Reals& a) { return folds_error(p, a, p.folds); }});
    out.push_back({"leave one out",
                   [](const Problem& p, const Doubles& a, MatrixView<double> gradient, int n) {
                       return loss::kfold(a.view(), p.y.view(), nullptr, gradient, n);
                   },
                   [](const Problem& p, const Reals& a) {
                       return folds_error(p, a, without(a.rows(), {}));
                   }});
    out.push_back({"nlml",
                   [](const Problem& p, const Doubles& a, MatrixView<double> gradient, int n) {
                       return loss::nlml(a.view(), p.y.view(), gradient, n);
                   },
                   [](const Problem& p, const Reals& a) {
                       const Reals y = cast<Real>(p.y);
                       const Real constant =
                           static_cast<Real>(a.rows()) * std::log(8 * std::atan(Real(1)));
                       return (dot(y, naive::solve(a, y)) +
                               static_cast<Real>(y.cols()) * (log_det(a) + constant)) /
                              2;
                   }});
    out.push_back({"mmd",
                   [](const Problem& p, const Doubles& a, MatrixView<double> gradient, int n) {
                       return loss::mmd(a.view(), p.halves.view(), gradient, n);
                   },
                   [](const Problem& p, const Reals& a) {
                       const Rows all = without(a.rows(), {});
                       return average(p, [&](Index, const Rows& c) {
                           return mean(a, all, all) + mean(a, c, c) - 2 * mean(a, all, c);
                       });
                   }});
    return out;
}

/// By central differences of fourth order.
Reals gradient(const Loss& loss, const Problem& p) {
    const Real h = 1e-5L;
    const Index n = p.a.rows();
    Reals a = cast<Real>(p.a), out(n, n);
    for (Index i = 0; i < n; ++i) {
        for (Index j = 0; j <= i; ++j) {
            const Real centre = a(i, j);
            const auto moved = [&](Real by) {
                a(i, j) = a(j, i) = centre + by;
                return loss.naive(p, a);
            };
            const Real slope =
                (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h);
            moved(0);
            out(i, j) = out(j, i) = i == j ? slope : slope / 2;
        }
    }
    return out;
}

void check_symmetric(const Doubles& gradient) {
    bool symmetric = true;
    for (Index i = 0; i < gradient.rows(); ++i) {
        for (Index j = 0; j < i; ++j) {
            symmetric = symmetric && gradient(i, j) == gradient(j, i);
        }
    }
    CHECK(symmetric);
}

void against_definition(const Loss& loss) {
    for (Index n : {4, 5, 8, 9}) {
        for (Index m : {1, 3}) {
            for (Index n_halves : {1, 3}) {
                const Scope scope("n " + std::to_string(n) + " m " + std::to_string(m));
                const Problem p = problem(n, m, n_halves, 3);
                const Real value = loss.naive(p, cast<Real>(p.a));
                const Reals expected = gradient(loss, p);
                for_each_level([&] {
                    Doubles out(n, n, -7.0);
                    const double found = loss.engine(p, p.a, out.view(), 1);
                    CHECK(std::fabs(found - value) <= 1e-10L * (1 + std::fabs(value)));
                    CHECK(loss.engine(p, p.a, {}, 1) == found);
                    CHECK(distance(out, expected) <= 1e-8L * largest(expected));
                    check_symmetric(out);
                });
            }
        }
    }
}

// More rows than a tile has; the derivative in one direction.
void several_tiles(const Loss& loss) {
    const Index n = 101;
    const Problem p = problem(n, 2, 2, 6);
    const Real value = loss.naive(p, cast<Real>(p.a));
    const Reals step = random_matrix<Real>(n, n, 4);
    const Real h = 1e-6L;
    Reals ends[2] = {cast<Real>(p.a), cast<Real>(p.a)};
    for (Index i = 0; i < n; ++i) {
        for (Index j = 0; j < n; ++j) {
            ends[0](i, j) += h * (step(i, j) + step(j, i));
            ends[1](i, j) -= h * (step(i, j) + step(j, i));
        }
    }
    const Real slope = (loss.naive(p, ends[0]) - loss.naive(p, ends[1])) / (4 * h);
    for_each_level([&] {
        Doubles out(n, n, -7.0);
        CHECK(std::fabs(loss.engine(p, p.a, out.view(), 2) - value) <= 1e-9L * std::fabs(value));
        CHECK(std::fabs(dot(cast<Real>(out), step) - slope) <= 1e-6L * std::fabs(slope));
        check_symmetric(out);
    });
}

void thread_counts(const Loss& loss) {
    const Problem p = problem(150, 11, 2, 7);
    for_each_level([&] {
        Doubles one(150, 150);
        const double value = loss.engine(p, p.a, one.view(), 1);
        for (int n_threads : {-1, 0, 2, 3, 8}) {
            Doubles many(150, 150, -7.0);
            CHECK(loss.engine(p, p.a, many.view(), n_threads) == value);
            CHECK(many == one);
        }
    });
}

// A gradient may be part of a larger matrix.
void strides(const Loss& loss) {
    const Problem p = problem(60, 2, 2, 3);
    Doubles whole(60, 60), larger(60, 70, -7.0);
    loss.engine(p, p.a, whole.view(), 1);
    loss.engine(p, p.a, {larger.data(), 60, 60, 70}, 1);
    bool equal = true, untouched = true;
    for (Index i = 0; i < 60; ++i) {
        for (Index j = 0; j < 70; ++j) {
            if (j < 60) {
                equal = equal && larger(i, j) == whole(i, j);
            } else {
                untouched = untouched && larger(i, j) == -7.0;
            }
        }
    }
    CHECK(equal);
    CHECK(untouched);
}

void singular_matrices(const Loss& loss) {
    if (loss.name == "mmd") {
        return;
    }
    Problem p = problem(20, 1, 1, 3);
    const Index first = p.halves(0, 0), second = p.halves(0, 7);
    for (Index i = 0; i < 20; ++i) {
        p.a(second, i) = p.a(first, i);
    }
    for (Index i = 0; i < 20; ++i) {
        p.a(i, second) = p.a(i, first);
    }
    Doubles out(20, 20);
    CHECK_THROWS(loss.engine(p, p.a, out.view(), 1), NotPositiveDefinite,
                 error.first == std::min(first, second) && error.second == std::max(first, second));
    const Doubles ones(20, 20, std::nan(""));
    CHECK_THROWS(loss.engine(p, ones, out.view(), 1), NotPositiveDefinite, error.first == -1);
    Doubles negative = problem(20, 1, 1, 3).a;
    for (Index i = 0; i < 20; ++i) {
        negative(i, i) -= 2.0;
    }
    CHECK_THROWS(loss.engine(p, negative, out.view(), 1), NotPositiveDefinite, true);
}

void leave_one_out() {
    for (Index n : {1, 2, 33}) {
        const Problem p = problem(n + 3, 2, 1, 2);
        Doubles a(n, n), y(n, 2);
        for (Index i = 0; i < n; ++i) {
            std::copy_n(p.a.view().row(i), n, a.view().row(i));
            std::copy_n(p.y.view().row(i), 2, y.view().row(i));
        }
        const Reals reals = cast<Real>(a);
        for_each_level([&] {
            Doubles residuals(n, 2);
            std::vector<double> variances(static_cast<std::size_t>(n));
            loss::leave_one_out(a.view(), y.view(), residuals.view(), variances.data(), 2);
            for (Index i = 0; i < n; ++i) {
                const Rows rest = without(n, {i});
                const Reals u = predict(reals, cast<Real>(y), rest, {i});
                const Real variance = reals(i, i) - predict(reals, reals, rest, {i})(0, i);
                CHECK(std::fabs(variances[static_cast<std::size_t>(i)] - variance) <= 1e-11L);
                for (Index q = 0; q < 2; ++q) {
                    CHECK(std::fabs(residuals(i, q) - (y(i, q) - u(0, q))) <= 1e-10L);
                }
            }
        });
    }
}

void zero_targets() {
    Problem p = problem(9, 2, 2, 3);
    p.y = Doubles(9, 2);
    Doubles out(9, 9, -7.0);
    CHECK(loss::rho(p.a.view(), p.y.view(), p.halves.view(), out.view(), 1) == 0.0);
    CHECK(largest(out) == 0.0L);
}

}  // namespace

int main() {
    for (const Loss& loss : losses()) {
        const Scope scope(loss.name);
        against_definition(loss);
        several_tiles(loss);
        thread_counts(loss);
        strides(loss);
        singular_matrices(loss);
    }
    leave_one_out();
    zero_targets();
    return result();
}
