#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "check.hpp"
#include "kflow/means.hpp"
#include "matrix.hpp"
#include "naive.hpp"

using namespace kflow;
using namespace kflow::test;

namespace {

template <class T>
struct Example {
    Matrix<T> centres, rates, coefficients, linear, back;
    std::vector<T> offset;
    std::vector<Family> families;

    Example(Index n, Index d, Index q, Index m)
        : centres(random_matrix<T>(n, d, 2)),
          rates(random_matrix<T>(q, d, 3)),
          coefficients(random_matrix<T>(q, n, 4)),
          linear(random_matrix<T>(q, d, 5)),
          back(random_matrix<T>(q, m, 6)) {
        for (Index c = 0; c < q; ++c) {
            families.push_back(c % 3 == 2 ? Family::gaussian : Family::matern52);
            for (Index k = 0; k < d; ++k) {
                rates(c, k) = std::exp(rates(c, k)) / static_cast<T>(d);
            }
        }
        for (Index j = 0; j < m; ++j) {
            offset.push_back(static_cast<T>(j));
        }
    }

    MeansParts<T> parts() const {
        return {families,      centres.view(), rates.view(), coefficients.view(),
                linear.view(), back.view(),    offset};
    }
};

template <class T>
struct Results {
    Matrix<T> scores, outputs, gradients;

    Results(const PosteriorMeans<T>& means, const Matrix<T>& x, int n_threads)
        : scores(x.rows(), means.n_components(), T(-7)),
          outputs(x.rows(), means.n_outputs(), T(-7)),
          gradients(x.rows(), means.n_components() * means.n_dimensions(), T(-7)) {
        means.scores(x.view(), scores.view(), n_threads);
        means.outputs(x.view(), outputs.view(), n_threads);
        means.gradients(x.view(), gradients.view(), n_threads);
    }

    bool operator==(const Results& other) const {
        return scores == other.scores && outputs == other.outputs && gradients == other.gradients;
    }
};

struct Reference {
    naive::Reals scores, outputs, gradients;

    template <class T>
    Reference(const Example<T>& e, const Matrix<T>& x)
        : scores(x.rows(), e.rates.rows()),
          outputs(x.rows(), e.back.cols()),
          gradients(x.rows(), e.rates.rows() * x.cols()) {
        for (Index i = 0; i < x.rows(); ++i) {
            for (Index c = 0; c < e.rates.rows(); ++c) {
                of_component(e, x, i, c);
            }
            for (Index j = 0; j < e.back.cols(); ++j) {
                outputs(i, j) = e.offset[static_cast<std::size_t>(j)];
                for (Index c = 0; c < e.rates.rows(); ++c) {
                    outputs(i, j) += scores(i, c) * static_cast<long double>(e.back(c, j));
                }
            }
        }
    }

    template <class T>
    void of_component(const Example<T>& e, const Matrix<T>& x, Index i, Index c) {
        const Index d = x.cols();
        const FamilyTraits& family = traits(e.families[static_cast<std::size_t>(c)]);
        for (Index k = 0; k < d; ++k) {
            const long double linear = e.linear(c, k);
            scores(i, c) += linear * static_cast<long double>(x(i, k));
            gradients(i, c * d + k) = linear;
        }
        for (Index j = 0; j < e.centres.rows(); ++j) {
            long double u = 0;
            const auto difference = [&](Index k) {
                return static_cast<long double>(x(i, k)) -
                       static_cast<long double>(e.centres(j, k));
            };
            for (Index k = 0; k < d; ++k) {
                u += static_cast<long double>(e.rates(c, k)) * difference(k) * difference(k);
            }
            const long double coefficient = e.coefficients(c, j);
            scores(i, c) += coefficient * family.value(u, 1, 1);
            for (Index k = 0; k < d; ++k) {
                gradients(i, c * d + k) += 2 * coefficient * family.slope(u, 1, 1) *
                                           static_cast<long double>(e.rates(c, k)) * difference(k);
            }
        }
    }
};

template <class T>
void shapes() {
    for (Index d : {1, 4, 9}) {
        for (Index n : {1, 63, 64, 150}) {
            for (Index q : {0, 1, 5}) {
                for (Index m : {1, 70}) {
                    const Scope scope("d " + std::to_string(d) + " n " + std::to_string(n) + " q " +
                                      std::to_string(q));
                    const Example<T> example(n, d, q, m);
                    const Matrix<T> x = random_matrix<T>(11, d, 1);
                    const Reference expected(example, x);
                    const long double most =
                        64 * std::numeric_limits<T>::epsilon() * static_cast<long double>(n + 8);
                    for_each_level([&] {
                        const PosteriorMeans<T> means(example.parts());
                        const Results<T> got(means, x, 1);
                        CHECK(distance(got.scores, expected.scores) <= most);
                        CHECK(distance(got.outputs, expected.outputs) <= 8 * most);
                        CHECK(distance(got.gradients, expected.gradients) <= 8 * most);
                    });
                }
            }
        }
    }
}

// A row of the result is that of its point alone, whatever the number of threads; and a plan serves
// every instruction set.
template <class T>
void rows_alone() {
    const Example<T> example(150, 5, 4, 70);
    const PosteriorMeans<T> means(example.parts());
    const Matrix<T> x = random_matrix<T>(61, 5, 1);
    for_each_level([&] {
        const Results<T> all(means, x, 1);
        CHECK(Results<T>(means, x, 3) == all);
        Matrix<T> one(1, 5);
        for (Index i : {0, 7, 60}) {
            std::copy_n(x.view().row(i), 5, one.data());
            const Results<T> alone(means, one, 1);
            for (Index j = 0; j < 70; ++j) {
                CHECK(alone.outputs(0, j) == all.outputs(i, j));
            }
            for (Index j = 0; j < 20; ++j) {
                CHECK(alone.gradients(0, j) == all.gradients(i, j));
            }
        }
        CHECK(Results<T>(means, Matrix<T>(0, 5), 1).outputs.rows() == 0);
    });
}

template <class T>
void refusals() {
    Example<T> example(10, 3, 2, 4);
    example.offset.pop_back();
    CHECK_THROWS(PosteriorMeans<T>(example.parts()), std::invalid_argument,
                 std::string(error.what()).find("fit each other") != std::string::npos);
    example.offset.push_back(T(0));
    example.families[1] = Family::polynomial;
    CHECK_THROWS(PosteriorMeans<T>(example.parts()), std::invalid_argument,
                 std::string(error.what()).find("squared distances") != std::string::npos);
}

}  // namespace

int main() {
    for_each_precision([](auto zero) {
        using T = decltype(zero);
        shapes<T>();
        rows_alone<T>();
        refusals<T>();
    });
    return result();
}
