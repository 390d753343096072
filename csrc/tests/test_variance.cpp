#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hpp"
#include "kflow/variance.hpp"
#include "matrix.hpp"
#include "naive.hpp"

using namespace kflow;
using namespace kflow::test;

namespace {

struct Example {
    Matrix<double> centres, rates, factor, inner;
    Family family;

    Example(Index n, Index d, Family of)
        : centres(random_matrix<double>(n, d, 2)),
          rates(random_matrix<double>(1, d, 3)),
          factor(random_matrix<double>(n, n, 4)),
          inner(random_matrix<double>(n, n, 5)),
          family(of) {
        for (Index k = 0; k < d; ++k) {
            rates(0, k) = std::exp(rates(0, k)) / static_cast<double>(d);
        }
        for (Matrix<double>* each : {&factor, &inner}) {
            for (Index i = 0; i < n; ++i) {
                for (Index j = 0; j < n; ++j) {
                    // Well conditioned; what is above the diagonal must not be read.
                    (*each)(i, j) = j > i    ? std::numeric_limits<double>::quiet_NaN()
                                    : j == i ? 2.0 + std::abs((*each)(i, j))
                                             : (*each)(i, j) / static_cast<double>(n);
                }
            }
        }
    }

    VarianceParts parts(bool with_inner) const {
        VarianceParts out;
        out.family = family;
        out.centres = centres.view();
        out.rates = rates.view();
        out.amplitude = 3.0;
        out.linear = 0.25;
        out.nugget = 0.125;
        out.scale = 2.0;
        out.factor = factor.view();
        if (with_inner) {
            out.inner = inner.view();
        }
        return out;
    }

    long double kernel(const double* x, const double* z) const {
        long double u = 0, product = 0;
        for (Index k = 0; k < centres.cols(); ++k) {
            const long double difference = static_cast<long double>(x[k]) - z[k];
            u += static_cast<long double>(rates(0, k)) * difference * difference;
            product += static_cast<long double>(x[k]) * z[k];
        }
        return 3.0L * traits(family).value(u, 1, 1) + 0.25L * product;
    }

    long double expected(const double* x, bool with_inner) const {
        const Index n = centres.rows();
        std::vector<long double> f(static_cast<std::size_t>(n));
        for (Index j = 0; j < n; ++j) {
            f[static_cast<std::size_t>(j)] = kernel(x, centres.view().row(j));
        }
        const auto solved = [&](const Matrix<double>& lower) {
            long double sum = 0;
            for (Index i = 0; i < n; ++i) {
                long double& own = f[static_cast<std::size_t>(i)];
                for (Index j = 0; j < i; ++j) {
                    own -= static_cast<long double>(lower(i, j)) * f[static_cast<std::size_t>(j)];
                }
                own /= static_cast<long double>(lower(i, i));
                sum += own * own;
            }
            return sum;
        };
        long double out = std::max(kernel(x, x) - solved(factor), 0.0L) + 0.125L;
        if (with_inner) {
            out += 0.125L * solved(inner);
        }
        return 2.0L * out;
    }
};

Matrix<double> variances(const PosteriorVariance& variance, const Matrix<double>& x, int threads) {
    Matrix<double> out(x.rows(), 1, -7.0);
    variance(x.view(), out.view(), threads);
    return out;
}

void shapes() {
    for (Index d : {1, 3, 9}) {
        for (Index n : {1, 7, 64, 150}) {
            for (bool with_inner : {false, true}) {
                const Scope scope("d " + std::to_string(d) + " n " + std::to_string(n));
                const Example example(n, d, d == 3 ? Family::gaussian : Family::matern52);
                const Matrix<double> x = random_matrix<double>(37, d, 1);
                naive::Reals expected(37, 1);
                for (Index i = 0; i < 37; ++i) {
                    expected(i, 0) = example.expected(x.view().row(i), with_inner);
                }
                for_each_level([&] {
                    const PosteriorVariance variance(example.parts(with_inner));
                    CHECK(distance(variances(variance, x, 1), expected) <= 1e-12L);
                });
            }
        }
    }
}

void rows_alone() {
    const Example example(90, 5, Family::matern52);
    const Matrix<double> x = random_matrix<double>(301, 5, 1);
    for_each_level([&] {
        const PosteriorVariance variance(example.parts(true));
        const Matrix<double> all = variances(variance, x, 1);
        CHECK(variances(variance, x, 3) == all);
        Matrix<double> one(1, 5);
        for (Index i : {0, 7, 300}) {
            std::copy_n(x.view().row(i), 5, one.data());
            CHECK(variances(variance, one, 1)(0, 0) == all(i, 0));
        }
        CHECK(variances(variance, Matrix<double>(0, 5), 1).rows() == 0);
    });
}

void refusals() {
    Example example(10, 3, Family::gaussian);
    VarianceParts parts = example.parts(true);
    parts.inner.cols = 9;
    CHECK_THROWS(PosteriorVariance{parts}, std::invalid_argument,
                 std::string(error.what()).find("fit each other") != std::string::npos);
    parts = example.parts(false);
    parts.family = Family::polynomial;
    CHECK_THROWS(PosteriorVariance{parts}, std::invalid_argument,
                 std::string(error.what()).find("squared distances") != std::string::npos);
    example.factor(4, 4) = 0.0;
    CHECK_THROWS(PosteriorVariance(example.parts(false)), std::invalid_argument,
                 std::string(error.what()).find("positive diagonal") != std::string::npos);
}

}  // namespace

int main() {
    shapes();
    rows_alone();
    refusals();
    return result();
}
