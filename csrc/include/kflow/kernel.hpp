#pragma once

namespace kflow {

/// Kernels of one number t. The radial ones are functions of t = r^2, r = |x - z|, and the length
/// scale l:
///   gaussian              exp(-r^2 / 2 l^2)
///   laplacian             exp(-r / l)
///   matern32              (1 + h) exp(-h),            h = sqrt(3) r / l
///   matern52              (1 + h + h^2 / 3) exp(-h),  h = sqrt(5) r / l
///   rational_quadratic    (1 + r^2 / (2 alpha l^2))^-alpha
///   inverse_multiquadric  (1 + r^2 / l^2)^-1/2
///   cauchy                1 / (1 + r^2 / l^2)
///   wendland              (1 - h)^p (p h + 1) where h < 1, else 0, with h = r / l and p = degree
/// All are 1 at r = 0 and positive definite in every dimension, wendland in those with
/// floor(d / 2) + 3 <= p. The last one is a function of t = x.z:
///   polynomial            (t / l^2 + alpha)^degree
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

struct Kernel {
    Family family = Family::gaussian;
    double length_scale = 1.0;
    double alpha = 1.0;  ///< used by rational_quadratic and polynomial
    int degree = 1;      ///< used by wendland and polynomial
};

}  // namespace kflow
