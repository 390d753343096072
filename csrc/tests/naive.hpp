#pragma once

// The reference: what the headers of kflow define, slowly and in long double.

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "kflow/layer.hpp"
#include "kflow/profile.hpp"
#include "matrix.hpp"

namespace kflow::test::naive {

using Real = long double;
using Reals = Matrix<Real>;

/// A profile of every radial family, without those of compact support: they are positive definite
/// in some dimensions only, and lose all relative accuracy where they end.
inline std::vector<Profile> radial_profiles(double length_scale) {
    std::vector<Profile> out;
    for (const FamilyTraits& family : kFamilies) {
        if (family.argument == Argument::squared_distance &&
            family.support == Support::everywhere) {
            out.push_back({family.family, length_scale, 1.7});
        }
    }
    return out;
}

/// The argument u of a profile's formulas.
inline Real scaled(const Profile& profile, Real t) {
    return t / (static_cast<Real>(profile.length_scale) * profile.length_scale);
}

/// k(t)
inline Real value(const Profile& profile, Real t) {
    return traits(profile.family).value(scaled(profile, t), profile.alpha, profile.degree);
}

/// dk/dt
inline Real slope(const Profile& profile, Real t) {
    const Real by_u =
        traits(profile.family).slope(scaled(profile, t), profile.alpha, profile.degree);
    return by_u / (static_cast<Real>(profile.length_scale) * profile.length_scale);
}

/// -log k without the factors that are not exponential: the argument that exp is given.
inline Real exponent(const Profile& profile, Real t) {
    const Formula x = traits(profile.family).exponent;
    return x == nullptr ? 0 : x(scaled(profile, t), profile.alpha, profile.degree);
}

template <class T>
Real squared_distance(const Matrix<T>& x, Index i, const Matrix<T>& z, Index j) {
    Real sum = 0;
    for (Index k = 0; k < x.cols(); ++k) {
        const Real difference = static_cast<Real>(x(i, k)) - static_cast<Real>(z(j, k));
        sum += difference * difference;
    }
    return sum;
}

template <class T>
Reals gram(const Matrix<T>& x, const Matrix<T>& z, const Profile& profile) {
    Reals out(x.rows(), z.rows());
    for (Index i = 0; i < x.rows(); ++i) {
        for (Index j = 0; j < z.rows(); ++j) {
            out(i, j) = value(profile, squared_distance(x, i, z, j));
        }
    }
    return out;
}

template <class A, class B>
Reals product(const Matrix<A>& a, const Matrix<B>& b) {
    Reals out(a.rows(), b.cols());
    for (Index i = 0; i < a.rows(); ++i) {
        for (Index k = 0; k < a.cols(); ++k) {
            for (Index j = 0; j < b.cols(); ++j) {
                out(i, j) += static_cast<Real>(a(i, k)) * static_cast<Real>(b(k, j));
            }
        }
    }
    return out;
}

template <class T>
Matrix<T> rows_of(const Matrix<T>& a, const std::vector<Index>& rows) {
    Matrix<T> out(static_cast<Index>(rows.size()), a.cols());
    for (Index i = 0; i < out.rows(); ++i) {
        for (Index j = 0; j < a.cols(); ++j) {
            out(i, j) = a(rows[static_cast<std::size_t>(i)], j);
        }
    }
    return out;
}

/// a^-1 b by Gaussian elimination, which needs no pivots where a is positive definite.
inline Reals solve(Reals a, Reals b) {
    const Index n = a.rows();
    for (Index k = 0; k < n; ++k) {
        for (Index i = k + 1; i < n; ++i) {
            const Real factor = a(i, k) / a(k, k);
            for (Index j = k; j < n; ++j) {
                a(i, j) -= factor * a(k, j);
            }
            for (Index j = 0; j < b.cols(); ++j) {
                b(i, j) -= factor * b(k, j);
            }
        }
    }
    for (Index k = n - 1; k >= 0; --k) {
        for (Index j = 0; j < b.cols(); ++j) {
            for (Index i = k + 1; i < n; ++i) {
                b(k, j) -= a(k, i) * b(i, j);
            }
            b(k, j) /= a(k, k);
        }
    }
    return b;
}

/// (K(x, x) + nugget I)^-1 b
template <class B>
Reals solve(const Reals& x, const Profile& profile, double nugget, const Matrix<B>& b) {
    Reals a = gram(x, x, profile);
    for (Index i = 0; i < a.rows(); ++i) {
        a(i, i) += nugget;
    }
    return solve(std::move(a), cast<Real>(b));
}

/// tr(y' (K(x, x) + nugget I)^-1 y)
inline Real norm(const Reals& x, const Profile& profile, double nugget, const Reals& y) {
    const Reals solution = solve(x, profile, nugget, y);
    Real sum = 0;
    for (Index i = 0; i < y.rows(); ++i) {
        for (Index j = 0; j < y.cols(); ++j) {
            sum += y(i, j) * solution(i, j);
        }
    }
    return sum;
}

/// rho by its definition, averaged over the coarse subsets.
inline Real rho(const Reals& x, const Reals& y, const Profile& profile, double nugget,
                const std::vector<std::vector<Index>>& subsets) {
    const Real fine = norm(x, profile, nugget, y);
    Real sum = 0;
    for (const std::vector<Index>& coarse : subsets) {
        sum += 1 - norm(rows_of(x, coarse), profile, nugget, rows_of(y, coarse)) / fine;
    }
    return sum / static_cast<Real>(subsets.size());
}

/// d rho / dx by central differences of fourth order.
inline Reals gradient(Reals x, const Reals& y, const Profile& profile, double nugget,
                      const std::vector<std::vector<Index>>& subsets) {
    const Real h = 1e-4L;
    Reals out(x.rows(), x.cols());
    for (Index i = 0; i < x.rows(); ++i) {
        for (Index k = 0; k < x.cols(); ++k) {
            const Real centre = x(i, k);
            const auto moved = [&](Real by) {
                x(i, k) = centre + by;
                return rho(x, y, profile, nugget, subsets);
            };
            out(i, k) = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h);
            x(i, k) = centre;
        }
    }
    return out;
}

struct Layer {
    Real rho, step;
    Reals z, c;
};

/// One layer of the flow for the training points x, whose first n_moving coordinates move; the
/// layer adds step K(x, z) c to them.
inline Layer layer(const Reals& x, Index n_moving, const Reals& y, const std::vector<Index>& batch,
                   const std::vector<std::vector<Index>>& subsets, const LayerOptions& options) {
    const Profile& profile = options.profile;
    const Reals z = rows_of(x, batch), targets = rows_of(y, batch);
    const Reals uphill = gradient(z, targets, profile, options.nugget, subsets);
    Reals descent(z.rows(), n_moving);
    for (Index i = 0; i < descent.rows(); ++i) {
        for (Index k = 0; k < descent.cols(); ++k) {
            descent(i, k) = -uphill(i, k);
        }
    }
    std::vector<Real> lengths;
    for (Index i = 0; i < descent.rows(); ++i) {
        Real square = 0;
        for (Index k = 0; k < n_moving; ++k) {
            square += descent(i, k) * descent(i, k);
        }
        lengths.push_back(std::sqrt(square));
    }
    std::vector<Real> sorted = lengths;
    std::sort(sorted.begin(), sorted.end());
    const Real most_allowed = options.gradient_cap * sorted[sorted.size() / 2];
    for (Index i = 0; i < descent.rows(); ++i) {
        const Real length = lengths[static_cast<std::size_t>(i)];
        for (Index k = 0; k < n_moving && length > most_allowed; ++k) {
            descent(i, k) *= most_allowed / length;
        }
    }
    const Reals c = solve(z, profile, options.nugget, descent);
    const Reals& measured = options.over_batch ? z : x;
    const Reals g = product(gram(measured, z, profile), c);
    Real ratio = std::numeric_limits<Real>::infinity(), most = 0, sum_x = 0, sum_g = 0;
    for (Index i = 0; i < measured.rows(); ++i) {
        Real x2 = 0, g2 = 0;
        for (Index k = 0; k < x.cols(); ++k) {
            x2 += measured(i, k) * measured(i, k);
        }
        for (Index k = 0; k < n_moving; ++k) {
            g2 += g(i, k) * g(i, k);
        }
        if (x2 > 0) {
            ratio = std::min(ratio, std::sqrt(x2 / g2));
        }
        most = std::max(most, std::sqrt(g2));
        sum_x += x2;
        sum_g += g2;
    }
    Real step = options.step_size;
    if (options.rule == StepRule::relative) {
        step *= ratio;
    } else if (options.rule == StepRule::rms) {
        step *= std::sqrt(sum_x / sum_g);
    } else if (options.rule == StepRule::absolute) {
        step /= most;
    }
    return {rho(z, targets, profile, options.nugget, subsets), step, z, c};
}

/// x with step K(x, z) c added to its first coordinates
inline Reals moved(const Reals& x, const Layer& layer, const Profile& profile) {
    const Reals g = product(gram(x, layer.z, profile), layer.c);
    Reals out = x;
    for (Index i = 0; i < g.rows(); ++i) {
        for (Index k = 0; k < g.cols(); ++k) {
            out(i, k) += layer.step * g(i, k);
        }
    }
    return out;
}

}  // namespace kflow::test::naive
