#pragma once

namespace kflow {

/// Radial kernels, as functions of r = |x - z| and the length scale l:
///   gaussian              exp(-r^2 / 2 l^2)
///   laplacian             exp(-r / l)
///   matern32              (1 + h) exp(-h),            h = sqrt(3) r / l
///   matern52              (1 + h + h^2 / 3) exp(-h),  h = sqrt(5) r / l
///   rational_quadratic    (1 + r^2 / (2 alpha l^2))^-alpha
///   inverse_multiquadric  (1 + r^2 / l^2)^-1/2
/// All are 1 at r = 0 and positive definite in every dimension.
enum class Family : int {
    gaussian,
    laplacian,
    matern32,
    matern52,
    rational_quadratic,
    inverse_multiquadric,
};

struct Kernel {
    Family family = Family::gaussian;
    double length_scale = 1.0;
    double alpha = 1.0;  ///< used by rational_quadratic alone
};

}  // namespace kflow
