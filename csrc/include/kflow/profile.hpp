#pragma once

#include <cmath>
#include <cstddef>
#include <iterator>

// Profiles: functions k(t) of one number, from which kernels are built, and all that the rest of
// the core knows about their families. A new family takes an enumerator and a row of kFamilies
// here, and its vector form in simd/profiles.inl.

namespace kflow {

/// The families of profiles. The rows of kFamilies, in the same order, hold their formulas.
enum class Family : int {
    gaussian,
    laplacian,
    matern32,
    matern52,
    rational_quadratic,
    inverse_multiquadric,
    cauchy,
    wendland,
    polynomial,
};

/// A function k(t): a family, and its parameters.
struct Profile {
    Family family = Family::gaussian;
    double length_scale = 1.0;
    double alpha = 1.0;  ///< see Alpha
    int degree = 1;      ///< see Degree
};

/// What t is: a squared distance r^2 = |x - z|^2, where k(0) = 1, or a product x.z.
enum class Argument { squared_distance, product };

/// How k behaves as a function of r^2 at 0. Where its slope is infinite, rounding errors of small
/// distances are amplified, and the vector form gives a slope of 0 at 0.
enum class AtZero { smooth, steep };

/// Where k is not 0: everywhere, or only at distances below the length scale.
enum class Support { everywhere, compact };

/// How k depends on Profile::alpha.
///   unused  it does not
///   shape   in a way of its own: the vector form has a function shape() for dk/dalpha
///   offset  k is a function of t / l^2 + alpha, so that dk/dalpha = l^2 dk/dt
enum class Alpha { unused, shape, offset };

/// Whether k depends on Profile::degree.
enum class Degree { unused, used };

/// A formula in u = t / l^2, where l is the length scale. It serves as the reference of the vector
/// form and is therefore plain, slow and in long double.
using Formula = long double (*)(long double u, long double alpha, long double degree);

/// What is known of a family.
struct FamilyTraits {
    Family family;
    const char* name;  ///< the name that Python uses
    Argument argument;
    AtZero at_zero;
    Support support;
    Alpha alpha;
    Degree degree;
    Formula value;  ///< k
    Formula slope;  ///< dk/du
    /// x if the vector form computes exp(-x) as a factor, else null. Rounding x changes the value
    /// by x units in its last place, which tests must allow.
    Formula exponent;
};

/// One row for each family. Radial profiles are positive definite in every dimension d, except for
/// wendland, which is in those with floor(d / 2) + 3 <= degree.
inline constexpr FamilyTraits kFamilies[] = {
    // exp(-r^2 / 2 l^2)
    {Family::gaussian, "gaussian", Argument::squared_distance, AtZero::smooth, Support::everywhere,
     Alpha::unused, Degree::unused,
     [](long double u, long double, long double) { return std::exp(-u / 2); },
     [](long double u, long double, long double) { return -std::exp(-u / 2) / 2; },
     [](long double u, long double, long double) { return u / 2; }},
    // exp(-r / l)
    {Family::laplacian, "laplacian", Argument::squared_distance, AtZero::steep, Support::everywhere,
     Alpha::unused, Degree::unused,
     [](long double u, long double, long double) { return std::exp(-std::sqrt(u)); },
     [](long double u, long double, long double) {
         return -std::exp(-std::sqrt(u)) / (2 * std::sqrt(u));
     },
     [](long double u, long double, long double) { return std::sqrt(u); }},
    // (1 + h) exp(-h), h = sqrt(3) r / l
    {Family::matern32, "matern32", Argument::squared_distance, AtZero::smooth, Support::everywhere,
     Alpha::unused, Degree::unused,
     [](long double u, long double, long double) {
         const long double h = std::sqrt(3 * u);
         return (1 + h) * std::exp(-h);
     },
     [](long double u, long double, long double) { return -3 * std::exp(-std::sqrt(3 * u)) / 2; },
     [](long double u, long double, long double) { return std::sqrt(3 * u); }},
    // (1 + h + h^2 / 3) exp(-h), h = sqrt(5) r / l
    {Family::matern52, "matern52", Argument::squared_distance, AtZero::smooth, Support::everywhere,
     Alpha::unused, Degree::unused,
     [](long double u, long double, long double) {
         const long double h = std::sqrt(5 * u);
         return (1 + h + h * h / 3) * std::exp(-h);
     },
     [](long double u, long double, long double) {
         const long double h = std::sqrt(5 * u);
         return -5 * (1 + h) * std::exp(-h) / 6;
     },
     [](long double u, long double, long double) { return std::sqrt(5 * u); }},
    // (1 + r^2 / (2 alpha l^2))^-alpha
    {Family::rational_quadratic, "rational_quadratic", Argument::squared_distance, AtZero::smooth,
     Support::everywhere, Alpha::shape, Degree::unused,
     [](long double u, long double alpha, long double) {
         return std::pow(1 + u / (2 * alpha), -alpha);
     },
     [](long double u, long double alpha, long double) {
         return -std::pow(1 + u / (2 * alpha), -alpha - 1) / 2;
     },
     [](long double u, long double alpha, long double) {
         return alpha * std::log1p(u / (2 * alpha));
     }},
    // (1 + r^2 / l^2)^-1/2
    {Family::inverse_multiquadric, "inverse_multiquadric", Argument::squared_distance,
     AtZero::smooth, Support::everywhere, Alpha::unused, Degree::unused,
     [](long double u, long double, long double) { return 1 / std::sqrt(1 + u); },
     [](long double u, long double, long double) { return -1 / (2 * (1 + u) * std::sqrt(1 + u)); },
     nullptr},
    // 1 / (1 + r^2 / l^2)
    {Family::cauchy, "cauchy", Argument::squared_distance, AtZero::smooth, Support::everywhere,
     Alpha::unused, Degree::unused,
     [](long double u, long double, long double) { return 1 / (1 + u); },
     [](long double u, long double, long double) { return -1 / ((1 + u) * (1 + u)); }, nullptr},
    // (1 - h)^p (p h + 1) where h < 1, else 0, with h = r / l and p = degree
    {Family::wendland, "wendland", Argument::squared_distance, AtZero::smooth, Support::compact,
     Alpha::unused, Degree::used,
     [](long double u, long double, long double p) {
         const long double h = std::sqrt(u);
         return h < 1 ? std::pow(1 - h, p) * (p * h + 1) : 0;
     },
     [](long double u, long double, long double p) {
         const long double h = std::sqrt(u);
         return h < 1 ? -p * (p + 1) * std::pow(1 - h, p - 1) / 2 : 0;
     },
     nullptr},
    // (x.z / l^2 + alpha)^degree
    {Family::polynomial, "polynomial", Argument::product, AtZero::smooth, Support::everywhere,
     Alpha::offset, Degree::used,
     [](long double u, long double alpha, long double p) { return std::pow(u + alpha, p); },
     [](long double u, long double alpha, long double p) { return p * std::pow(u + alpha, p - 1); },
     nullptr},
};

/// The row of a family.
constexpr const FamilyTraits& traits(Family family) {
    return kFamilies[static_cast<std::size_t>(family)];
}

namespace detail {
constexpr bool rows_are_in_the_order_of_the_enumerators() {
    for (std::size_t i = 0; i < std::size(kFamilies); ++i) {
        if (kFamilies[i].family != static_cast<Family>(i)) {
            return false;
        }
    }
    return true;
}
static_assert(rows_are_in_the_order_of_the_enumerators());
}  // namespace detail

}  // namespace kflow
