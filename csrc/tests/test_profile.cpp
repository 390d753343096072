// The table of families, and the vector forms of their profiles for every instruction set.

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "check.hpp"
#include "core/simd_table.hpp"
#include "kflow/profile.hpp"
#include "naive.hpp"

using namespace kflow;
using namespace kflow::test;
using naive::Real;

namespace {

template <class T>
constexpr double kAccuracy = sizeof(T) == 4 ? 2e-7 : 2e-15;

// exp is 0 below the smallest normal number, and a Matern profile is exp times up to 1 + h + h^2.
template <class T>
bool agrees(T value, long double expected, long double accuracy, long double h) {
    const long double lost = std::numeric_limits<T>::min() * (1 + h + h * h);
    // Rounding the argument of exp costs that argument times epsilon.
    return std::fabs(static_cast<long double>(value) - expected) <=
           accuracy * (1 + h) * std::fabs(expected) + lost;
}

template <class T>
std::vector<T> squared_distances() {
    std::vector<T> out{T(0), std::numeric_limits<T>::min(), T(1)};
    for (double r2 = 1e-12; r2 < 1e6; r2 *= 1.0173) {
        out.push_back(static_cast<T>(r2));
    }
    return out;
}

template <class T>
void values_and_slopes() {
    const std::vector<T> r2 = squared_distances<T>();
    const auto n = static_cast<Index>(r2.size());
    for (double length_scale : {1.0, 0.7, 20.0}) {
        for (const Profile& profile : naive::radial_profiles(length_scale)) {
            const Scope scope(traits(profile.family).name);
            std::vector<T> k = r2, value(r2.size()), slope = r2;
            const auto& routines = detail::simd().get<T>();
            routines.evaluate_profile(profile, k.data(), k.data(), n);
            routines.evaluate_with_slope(profile, slope.data(), value.data(), slope.data(), n);
            for (std::size_t j = 0; j < r2.size(); ++j) {
                const long double s = r2[j];
                const long double h = naive::exponent(profile, s);
                CHECK(agrees(k[j], naive::value(profile, s), kAccuracy<T>, h));
                CHECK(value[j] == k[j]);
                if (s > 0) {
                    CHECK(agrees(slope[j], naive::slope(profile, s), 2 * kAccuracy<T>, h));
                }
            }
            CHECK(k[0] == T(1));
            CHECK(std::isfinite(slope[0]));
            CHECK((slope[0] == T(0)) == (traits(profile.family).at_zero == AtZero::steep));
        }
    }
}

void reference_slopes() {
    for (const Profile& profile : naive::radial_profiles(0.7)) {
        for (long double s = 1e-2L; s < 10.0L; s *= 1.3L) {
            const long double h = 1e-3L * s;
            const auto at = [&](long double t) { return naive::value(profile, s + t); };
            const long double difference =
                (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
            CHECK(std::fabs(naive::slope(profile, s) - difference) <=
                  1e-7L * std::fabs(difference));
        }
    }
}

// df/dx by central differences of fourth order.
Real difference(const std::function<Real(Real)>& f, Real x) {
    const Real h = 1e-4L * x;
    return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h);
}

// What a row says of its formulas is true.
void rows() {
    // A radial family that called itself a function of products would leave all loops over these.
    CHECK(naive::radial_profiles(1.0).size() >= 7);
    for (const FamilyTraits& row : kFamilies) {
        const Scope scope(row.name);
        for (const Real u : {0.03L, 0.3L, 0.6L, 3.0L}) {
            const Real alpha = 1.3L, degree = 4.0L, value = row.value(u, alpha, degree);
            const Real slope = row.slope(u, alpha, degree);
            const auto of_u = [&](Real x) { return row.value(x, alpha, degree); };
            const auto of_alpha = [&](Real x) { return row.value(u, x, degree); };
            CHECK(std::fabs(difference(of_u, u) - slope) <= 1e-9L * (1 + std::fabs(slope)));
            const Real by_alpha = difference(of_alpha, alpha);
            CHECK((by_alpha == 0) == (row.alpha == Alpha::unused));
            if (row.alpha == Alpha::offset) {
                CHECK(std::fabs(by_alpha - slope) <= 1e-9L * std::fabs(slope));
            }
            const bool inside = row.support == Support::everywhere || u < 1;
            CHECK((value != 0) == inside);
            CHECK((row.value(u, alpha, degree + 1) != value) ==
                  (row.degree == Degree::used && inside));
        }
        if (row.argument == Argument::squared_distance) {
            CHECK(row.value(0, 1.3L, 4) == 1);
            CHECK(std::isinf(row.slope(0, 1.3L, 4)) == (row.at_zero == AtZero::steep));
        }
    }
}

// On ARM musl computes the powers of long double in double, of which differences keep nine digits.
Real accuracy_of_differences() {
    volatile Real above_one = 1 + 1e-17L, three = 3;  // else the compiler computes the power
    return std::pow(Real(above_one), Real(three)) > 1 ? 0.0L : 1e-9L;
}

template <class T>
void shapes() {
    const Real tolerance = 10 * kAccuracy<T> + accuracy_of_differences();
    for (const FamilyTraits& row : kFamilies) {
        if (row.alpha != Alpha::shape) {
            continue;
        }
        const Scope scope(row.name);
        const std::vector<T> t{T(0.01), T(0.1), T(1), T(10)};
        std::vector<T> shape(t.size());
        const Profile profile{row.family, 0.75, 1.5};
        detail::simd().get<T>().evaluate_shape(profile, t.data(), shape.data(), 4);
        for (std::size_t j = 0; j < t.size(); ++j) {
            const Real u = naive::scaled(profile, t[j]);
            const auto of_alpha = [&](Real x) { return row.value(u, x, profile.degree); };
            CHECK(std::fabs(shape[j] - difference(of_alpha, profile.alpha)) <= tolerance);
        }
    }
}

// With l = 1 and r a number of few bits the Laplacian's argument is exact, so that this is the
// accuracy of exp itself.
template <class T>
void exponential() {
    const Profile profile{Family::laplacian, 1.0, 1.0};
    std::vector<T> r2, r;
    const double largest = -std::log(static_cast<double>(std::numeric_limits<T>::min()));
    for (double s = 0.0; s < std::min(largest, 100.0); s += 1.0 / 16.0) {
        r.push_back(static_cast<T>(s));
        r2.push_back(static_cast<T>(s * s));
    }
    std::vector<T> k = r2;
    detail::simd().get<T>().evaluate_profile(profile, k.data(), k.data(),
                                             static_cast<Index>(k.size()));
    long double worst = 0;
    for (std::size_t j = 0; j < r2.size(); ++j) {
        const long double expected = std::exp(-static_cast<long double>(r[j]));
        worst = std::max(worst, std::fabs(static_cast<long double>(k[j]) - expected) / expected);
    }
    CHECK(worst <= kAccuracy<T>);
}

// The Gaussian is a power of 2, whose exponent is rounded once.
template <class T>
void power_of_two() {
    const Profile profile{Family::gaussian, 1.0, 1.0};
    std::vector<T> r2;
    const double largest = -2.0 * std::log(static_cast<double>(std::numeric_limits<T>::min()));
    for (double s = 0.0; s < largest; s += largest / 20011.0) {
        r2.push_back(static_cast<T>(s));
    }
    std::vector<T> k = r2;
    detail::simd().get<T>().evaluate_profile(profile, k.data(), k.data(),
                                             static_cast<Index>(k.size()));
    long double worst = 0;
    for (std::size_t j = 0; j < r2.size(); ++j) {
        const long double x = static_cast<long double>(r2[j]) / 2, expected = std::exp(-x);
        const long double rounding = x * std::numeric_limits<T>::epsilon();
        const long double error = std::fabs(static_cast<long double>(k[j]) - expected) / expected;
        worst = std::max(worst, error - rounding);
    }
    CHECK(worst <= kAccuracy<T>);
}

// With l^2 = 1/2 and alpha = 1 the rational quadratic is exp(-log(1 + r^2)).
template <class T>
void logarithm() {
    const Profile profile{Family::rational_quadratic, std::sqrt(0.5), 1.0};
    std::vector<T> r2;
    for (double s = 1e-6; s < 4.0; s += 1.7e-4) {
        r2.push_back(static_cast<T>(s));
    }
    std::vector<T> k = r2;
    detail::simd().get<T>().evaluate_profile(profile, k.data(), k.data(),
                                             static_cast<Index>(k.size()));
    long double worst = 0;
    for (std::size_t j = 0; j < r2.size(); ++j) {
        const long double expected = 1 / (1 + static_cast<long double>(r2[j]));
        worst = std::max(worst, std::fabs(static_cast<long double>(k[j]) - expected) / expected);
    }
    CHECK(worst <= 2 * kAccuracy<T>);
}

template <class T>
void special_values() {
    const T nan = std::numeric_limits<T>::quiet_NaN();
    for (const Profile& profile : naive::radial_profiles(1.0)) {
        const Scope scope(traits(profile.family).name);
        std::vector<T> r2{T(0), nan, T(1e9), nan}, value(4), slope(4), k = r2;
        detail::simd().get<T>().evaluate_profile(profile, k.data(), k.data(), 4);
        detail::simd().get<T>().evaluate_with_slope(profile, r2.data(), value.data(), slope.data(),
                                                    4);
        for (std::size_t j : {1, 3}) {
            CHECK(std::isnan(k[j]) && std::isnan(value[j]) && std::isnan(slope[j]));
        }
        CHECK(k[0] == T(1));
        const bool vanishes = naive::value(profile, 1e9L) < std::numeric_limits<T>::min();
        CHECK((k[2] == T(0)) == vanishes);
        CHECK((slope[2] == T(0)) == vanishes);
    }
}

// Every length, so that every remainder of every vector width occurs; nothing beyond it is touched.
template <class T>
void lengths() {
    const Profile profile{Family::matern52, 1.3, 1.0};
    for (Index n = 0; n <= 70; ++n) {
        std::vector<T> k(static_cast<std::size_t>(n) + 1, T(0.5));
        k.back() = T(-3);
        detail::simd().get<T>().evaluate_profile(profile, k.data(), k.data(), n);
        CHECK(k.back() == T(-3));
        for (Index j = 0; j < n; ++j) {
            CHECK(k[static_cast<std::size_t>(j)] == k[0]);
        }
    }
}

}  // namespace

int main() {
    rows();
    reference_slopes();
    for_each_level([] {
        for_each_precision([](auto zero) {
            using T = decltype(zero);
            values_and_slopes<T>();
            exponential<T>();
            power_of_two<T>();
            logarithm<T>();
            shapes<T>();
            special_values<T>();
            lengths<T>();
        });
    });
    return result();
}
