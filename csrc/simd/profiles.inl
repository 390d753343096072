// The profiles k(t) of kflow/profile.hpp and their slopes dk/dt, t = r^2 for the radial ones.
// value() takes one register or several side by side. Arguments where k has long been 0 are held
// back before infinity would make it NaN.

namespace {

template <class T>
struct ValueAndSlope {
    Vec<T> value, slope;
};

// A rate as large as T allows: infinity times a distance of 0 would be NaN, where k is 1.
template <class T>
T finite(double rate) {
    constexpr double largest = static_cast<double>(std::numeric_limits<T>::max());
    return static_cast<T>(rate < largest ? rate : largest);
}

template <class T>
struct GaussianProfile {
    T rate;    // 1 / 2 l^2
    T powers;  // rate / ln 2: k = 2^(-powers r^2)
    explicit GaussianProfile(const Profile& k)
        : rate(finite<T>(0.5 / (k.length_scale * k.length_scale))),
          powers(finite<T>(1.44269504088896340736 * 0.5 / (k.length_scale * k.length_scale))) {}
    template <class V>
    [[gnu::always_inline]] V value(const V& r2) const {
        return exp2_nonpositive(r2 * -powers);
    }
    [[gnu::always_inline]] ValueAndSlope<T> both(Vec<T> r2) const {
        const Vec<T> k = value(r2);
        return {k, k * -rate};
    }
};

template <class T>
struct LaplacianProfile {
    T rate;  // 1 / l
    explicit LaplacianProfile(const Profile& k) : rate(finite<T>(1.0 / k.length_scale)) {}
    template <class V>
    [[gnu::always_inline]] V value(const V& r2) const {
        return exp_nonpositive(sqrt(r2) * -rate);
    }
    [[gnu::always_inline]] ValueAndSlope<T> both(Vec<T> r2) const {
        const Vec<T> r = sqrt(r2);
        const Vec<T> k = exp_nonpositive(r * -rate);
        const Vec<T> slope = k * (T(-0.5) * rate) / r;
        return {k, where_less(Vec<T>{}, r, slope, r * T(0))};
    }
};

template <class T>
struct Matern32Profile {
    T rate;  // 3 / l^2: h^2 = rate r^2
    explicit Matern32Profile(const Profile& k)
        : rate(finite<T>(3.0 / (k.length_scale * k.length_scale))) {}
    template <class V>
    [[gnu::always_inline]] V value(const V& r2) const {
        const V h = at_most(T(1e4), sqrt(r2 * rate));
        return (h + T(1)) * exp_nonpositive(-h);
    }
    [[gnu::always_inline]] ValueAndSlope<T> both(Vec<T> r2) const {
        const Vec<T> h = at_most(T(1e4), sqrt(r2 * rate));
        const Vec<T> e = exp_nonpositive(-h);
        return {(h + T(1)) * e, e * (T(-0.5) * rate)};
    }
};

template <class T>
struct Matern52Profile {
    T rate;  // 5 / l^2: h^2 = rate r^2
    explicit Matern52Profile(const Profile& k)
        : rate(finite<T>(5.0 / (k.length_scale * k.length_scale))) {}
    template <class V>
    [[gnu::always_inline]] V value(const V& r2) const {
        const V h2 = at_most(T(1e8), r2 * rate);
        const V h = sqrt(h2);
        return (multiply_add(h2, T(1.0 / 3.0), h) + T(1)) * exp_nonpositive(-h);
    }
    [[gnu::always_inline]] ValueAndSlope<T> both(Vec<T> r2) const {
        const Vec<T> h2 = at_most(T(1e8), r2 * rate);
        const Vec<T> h = sqrt(h2);
        const Vec<T> e = exp_nonpositive(-h);
        return {(multiply_add(h2, T(1.0 / 3.0), h) + T(1)) * e,
                (h + T(1)) * e * (T(-1.0 / 6.0) * rate)};
    }
};

template <class T>
struct RationalQuadraticProfile {
    T rate;  // 1 / 2 alpha l^2
    T alpha;
    T slope;  // -1 / 2 l^2
    explicit RationalQuadraticProfile(const Profile& k)
        : rate(finite<T>(0.5 / (k.alpha * k.length_scale * k.length_scale))),
          alpha(finite<T>(k.alpha)),
          slope(-finite<T>(0.5 / (k.length_scale * k.length_scale))) {}
    // log(1 + x): what 1 + x loses of a small x comes back to first order, since alpha, which
    // multiplies the logarithm, is large where x is small.
    template <class V>
    [[gnu::always_inline]] static V log_of_one_plus(const V& x, const V& base) {
        return log_of_at_least_one(base) + (x - (base - T(1))) / base;
    }
    template <class V>
    [[gnu::always_inline]] V value(const V& r2) const {
        const V x = at_most(T(1e30), r2 * rate);
        return exp_nonpositive(log_of_one_plus(x, x + T(1)) * -alpha);
    }
    [[gnu::always_inline]] ValueAndSlope<T> both(Vec<T> r2) const {
        const Vec<T> x = at_most(T(1e30), r2 * rate);
        const Vec<T> base = x + T(1);
        const Vec<T> k = exp_nonpositive(log_of_one_plus(x, base) * -alpha);
        return {k, k * slope / base};
    }
    // dk/dalpha = k (x / (1 + x) - log(1 + x)); by its series where the difference has no digits.
    [[gnu::always_inline]] Vec<T> shape(Vec<T> r2) const {
        const Vec<T> x = at_most(T(1e30), r2 * rate);
        const Vec<T> base = x + T(1);
        const Vec<T> logarithm = log_of_one_plus(x, base);
        const Vec<T> series = x * x * (((T(0.8) * x - T(0.75)) * x + T(2.0 / 3.0)) * x - T(0.5));
        return exp_nonpositive(logarithm * -alpha) *
               where_less(x, splat(T(1e-3)), series, x / base - logarithm);
    }
};

template <class T>
struct InverseMultiquadricProfile {
    T rate;  // 1 / l^2
    explicit InverseMultiquadricProfile(const Profile& k)
        : rate(finite<T>(1.0 / (k.length_scale * k.length_scale))) {}
    template <class V>
    [[gnu::always_inline]] V value(const V& r2) const {
        return T(1) / sqrt(multiply_add(r2, rate, T(1)));
    }
    [[gnu::always_inline]] ValueAndSlope<T> both(Vec<T> r2) const {
        const Vec<T> base = r2 * rate + T(1);
        const Vec<T> k = T(1) / sqrt(base);
        return {k, k / base * (T(-0.5) * rate)};
    }
};

template <class T>
struct CauchyProfile {
    T rate;  // 1 / l^2
    explicit CauchyProfile(const Profile& k)
        : rate(finite<T>(1.0 / (k.length_scale * k.length_scale))) {}
    template <class V>
    [[gnu::always_inline]] V value(const V& r2) const {
        return T(1) / multiply_add(r2, rate, T(1));
    }
    [[gnu::always_inline]] ValueAndSlope<T> both(Vec<T> r2) const {
        const Vec<T> k = T(1) / (r2 * rate + T(1));
        return {k, k * k * -rate};
    }
};

template <class V>
KFLOW_INLINE V power(V x, int n) {
    using T = Element<V>;
    V result = x * T(0) + T(1);
    for (; n > 0; n /= 2) {
        if (n % 2 == 1) {
            result = result * x;
        }
        x = x * x;
    }
    return result;
}

template <class T>
struct WendlandProfile {
    T rate;  // 1 / l^2: h^2 = rate r^2
    int degree;
    explicit WendlandProfile(const Profile& k)
        : rate(finite<T>(1.0 / (k.length_scale * k.length_scale))), degree(k.degree) {}
    template <class V>
    [[gnu::always_inline]] V value(const V& r2) const {
        const V h = at_most(T(1), sqrt(r2 * rate));
        return power(-h + T(1), degree) * (h * T(degree) + T(1));
    }
    [[gnu::always_inline]] ValueAndSlope<T> both(Vec<T> r2) const {
        const Vec<T> h = at_most(T(1), sqrt(r2 * rate));
        const Vec<T> rest = T(1) - h, lower = power(rest, degree - 1);
        return {lower * rest * (h * T(degree) + T(1)),
                lower * (T(-0.5) * T(degree) * T(degree + 1) * rate)};
    }
};

template <class T>
struct PolynomialProfile {
    T rate;  // 1 / l^2
    T offset;
    int degree;
    explicit PolynomialProfile(const Profile& k)
        : rate(finite<T>(1.0 / (k.length_scale * k.length_scale))),
          offset(static_cast<T>(k.alpha)),
          degree(k.degree) {}
    template <class V>
    [[gnu::always_inline]] V value(const V& product) const {
        return power(multiply_add(product, rate, offset), degree);
    }
    [[gnu::always_inline]] ValueAndSlope<T> both(Vec<T> product) const {
        const Vec<T> base = product * rate + offset, lower = power(base, degree - 1);
        return {lower * base, lower * (T(degree) * rate)};
    }
};

// Whether a vector form has a derivative with respect to alpha of its own.
template <class T, class Function, class = void>
constexpr bool has_shape = false;
template <class T, class Function>
constexpr bool
    has_shape<T, Function, std::void_t<decltype(std::declval<Function>().shape(Vec<T>{}))>> = true;

// Calls body(function) with the vector form of a profile, so that the choice is made outside the
// loops.
template <class T, class Body>
KFLOW_INLINE void with_profile(const Profile& profile, Body&& body) {
    switch (profile.family) {
        case Family::gaussian:
            return body(GaussianProfile<T>(profile));
        case Family::laplacian:
            return body(LaplacianProfile<T>(profile));
        case Family::matern32:
            return body(Matern32Profile<T>(profile));
        case Family::matern52:
            return body(Matern52Profile<T>(profile));
        case Family::rational_quadratic:
            return body(RationalQuadraticProfile<T>(profile));
        case Family::inverse_multiquadric:
            return body(InverseMultiquadricProfile<T>(profile));
        case Family::cauchy:
            return body(CauchyProfile<T>(profile));
        case Family::wendland:
            return body(WendlandProfile<T>(profile));
        case Family::polynomial:
            return body(PolynomialProfile<T>(profile));
    }
}

}  // namespace
