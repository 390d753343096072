// Branch-free exp and 2^x for arguments <= 0 and log for arguments >= 1.
//
// exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln 2 / 2; exp(r) by its Chebyshev interpolant
// (degree 6 in float, 11 in double, both below 2e-9 and 4e-18 relative). 2^x = 2^n 2^f, f = x - n
// exactly, with the same polynomials in f ln 2. Without the instruction that rounds, n is rounded
// by adding and subtracting 1.5 * 2^mantissa, which leaves n in the low bits: re-association would
// break it.
// Results below the smallest normal number are 0; NaN stays NaN.
//
// log(x) = e ln 2 + 2 atanh(s), s = (m - 1) / (m + 1), x = 2^e m, sqrt(1/2) <= m < sqrt(2), where
// atanh(s) / s is a polynomial in s^2.

namespace {

// Where the instructions below round and scale, an exponent too small for them does no harm.
#if defined(__AVX512F__) && KFLOW_VECTOR_BYTES == 64

template <class T, class V>
KFLOW_INLINE V clamped_exponent(T, const V& x) {
    return x;
}

KFLOW_INLINE Vec<float> round(Vec<float> x) {
    return (Vec<float>)_mm512_roundscale_ps((__m512)x, 0);
}
KFLOW_INLINE Vec<double> round(Vec<double> x) {
    return (Vec<double>)_mm512_roundscale_pd((__m512d)x, 0);
}

// 2^n p, and 0 where x < lowest.
KFLOW_INLINE Vec<float> scaled(Vec<float> p, Vec<float> n, Vec<float> x, float lowest) {
    const auto normal = _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(lowest), _CMP_NLT_UQ);
    return (Vec<float>)_mm512_maskz_scalef_ps(normal, (__m512)p, (__m512)n);
}
KFLOW_INLINE Vec<double> scaled(Vec<double> p, Vec<double> n, Vec<double> x, double lowest) {
    const auto normal = _mm512_cmp_pd_mask((__m512d)x, _mm512_set1_pd(lowest), _CMP_NLT_UQ);
    return (Vec<double>)_mm512_maskz_scalef_pd(normal, (__m512d)p, (__m512d)n);
}

#else

template <class T>
constexpr T kMagic = sizeof(T) == 4 ? T(12582912.0) : T(6755399441055744.0);

template <class T, class V>
KFLOW_INLINE V clamped_exponent(T lowest, const V& x) {
    return at_least(lowest, x);
}

template <class V>
KFLOW_INLINE auto round(V x) -> decltype(x - kMagic<std::remove_reference_t<decltype(x[0])>>) {
    constexpr auto magic = kMagic<std::remove_reference_t<decltype(x[0])>>;
    return (x + magic) - magic;
}

template <class V, class T>
KFLOW_INLINE V scaled(V p, V n, V x, T lowest) {
    constexpr int mantissa = sizeof(T) == 4 ? 23 : 52, bias = sizeof(T) == 4 ? 127 : 1023;
    const V magic = splat(kMagic<T>);
    const Bits<T> exponent = bit_cast<Bits<T>>(n + magic) - bit_cast<Bits<T>>(magic) + bias;
    return where_less(x, splat(lowest), V{}, p * bit_cast<V>(exponent << mantissa));
}

#endif

template <class T, int N>
KFLOW_INLINE Wide<T, N> round(const Wide<T, N>& a) {
    return map(a, [](Vec<T> x) { return round(x); });
}

template <class T, int N>
KFLOW_INLINE Wide<T, N> scaled(const Wide<T, N>& p, const Wide<T, N>& n, const Wide<T, N>& x,
                               T lowest) {
    Wide<T, N> out;
    for (int i = 0; i < N; ++i) {
        out.v[i] = scaled(p.v[i], n.v[i], x.v[i], lowest);
    }
    return out;
}

// One register, or several side by side.
template <class V>
struct ElementOf {
    using type = std::remove_cv_t<std::remove_reference_t<decltype(V{}[0])>>;
};
template <class T, int N>
struct ElementOf<Wide<T, N>> {
    using type = T;
};
template <class V>
using Element = typename ElementOf<V>::type;

template <class V>
KFLOW_INLINE V exp_nonpositive(const V& x) {
    using T = Element<V>;
    if constexpr (sizeof(T) == 4) {
        constexpr T lowest = -87.3365447f;  // ln of the smallest normal number
        const V y = clamped_exponent(lowest, x);
        const V n = round(y * 1.44269504088896341f);
        V r = multiply_add(n, -0.693359375f, y);
        r = multiply_add(n, 2.12194440054690583e-4f, r);
        V p = multiply_add(r, 0.0013941118895837f, 0.00837513477462433f);
        p = multiply_add(p, r, 0.0416663527711122f);
        p = multiply_add(p, r, 0.166664154160410f);
        p = multiply_add(p, r, 0.500000004714606f);
        p = multiply_add(p, r, 1.00000003773887f);
        p = multiply_add(p, r, 1.0f);
        return scaled(p, n, x, lowest);
    } else {
        constexpr T lowest = -708.39641853226408;
        const V y = clamped_exponent(lowest, x);
        const V n = round(y * 1.44269504088896340736);
        V r = multiply_add(n, -6.93145751953125e-1, y);
        r = multiply_add(n, -1.42860682030941723212e-6, r);
        V p = multiply_add(r, 2.5110049204818659793e-8, 2.763265472252779189e-7);
        p = multiply_add(p, r, 2.7557240887228596856e-6);
        p = multiply_add(p, r, 0.000024801485441561312966);
        p = multiply_add(p, r, 0.00019841269890076402829);
        p = multiply_add(p, r, 0.0013888888952352862866);
        p = multiply_add(p, r, 0.0083333333333195896163);
        p = multiply_add(p, r, 0.04166666666648795252);
        p = multiply_add(p, r, 0.1666666666666668082);
        p = multiply_add(p, r, 0.50000000000000184039);
        p = multiply_add(p, r, 1.0);
        p = multiply_add(p, r, 1.0);
        return scaled(p, n, x, lowest);
    }
}

template <class V>
KFLOW_INLINE V exp2_nonpositive(const V& x) {
    using T = Element<V>;
    if constexpr (sizeof(T) == 4) {
        constexpr T lowest = -126.0f;
        const V y = clamped_exponent(lowest, x);
        const V n = round(y);
        const V f = y - n;
        V p = multiply_add(f, 0.00015461456301344f, 0.0013400441580195f);
        p = multiply_add(p, f, 0.0096180566495172f);
        p = multiply_add(p, f, 0.055503271938300f);
        p = multiply_add(p, f, 0.24022650922425f);
        p = multiply_add(p, f, 0.69314720671854f);
        p = multiply_add(p, f, 1.0f);
        return scaled(p, n, x, lowest);
    } else {
        constexpr T lowest = -1022.0;
        const V y = clamped_exponent(lowest, x);
        const V n = round(y);
        const V f = y - n;
        V p = multiply_add(f, 4.4558199665721416661e-10, 7.0741981587913462806e-9);
        p = multiply_add(p, f, 1.0178057076154919579e-7);
        p = multiply_add(p, f, 0.0000013215432514189648706);
        p = multiply_add(p, f, 0.000015252733841579288244);
        p = multiply_add(p, f, 0.00015403530463766596101);
        p = multiply_add(p, f, 0.0013333558146406453105);
        p = multiply_add(p, f, 0.0096181291075872236643);
        p = multiply_add(p, f, 0.055504108664821627087);
        p = multiply_add(p, f, 0.24022650695910159655);
        p = multiply_add(p, f, 0.69314718055994530942);
        p = multiply_add(p, f, 1.0);
        return scaled(p, n, x, lowest);
    }
}

KFLOW_INLINE Vec<float> log_of_at_least_one(Vec<float> x) {
    using V = Vec<float>;
    // Adding the distance of sqrt(1/2) from 1 makes the exponent step at sqrt(2), not at 2.
    const Bits<float> bits = bit_cast<Bits<float>>(x) + (0x3f800000 - 0x3f3504f3);
    const Bits<float> e = (bits >> 23) - 127;
    const V m = bit_cast<V>((bits & 0x007fffff) + 0x3f3504f3);
    const V n = __builtin_convertvector(bit_cast<Integers<float>>(e), V);
    const V s = (m - 1.0f) / (m + 1.0f);
    const V u = s * s;
    V p = splat(0.299257894776834f);
    p = p * u + 0.399747990764256f;
    p = p * u + 0.666668157918318f;
    p = p * u + 1.99999999862577f;
    // x - x is 0 for numbers and NaN for infinity and NaN, which the bits above would hide.
    return n * 0.693147180559945f + s * p + (x - x);
}

KFLOW_INLINE Vec<double> log_of_at_least_one(Vec<double> x) {
    using V = Vec<double>;
    const Bits<double> bits = bit_cast<Bits<double>>(x) + (0x3ff0000000000000 - 0x3fe6a09e667f3bcd);
    const Bits<double> e = (bits >> 52) - 1023;
    const V m = bit_cast<V>((bits & 0x000fffffffffffff) + 0x3fe6a09e667f3bcd);
    const V n = __builtin_convertvector(bit_cast<Integers<double>>(e), V);
    const V s = (m - 1.0) / (m + 1.0);
    const V u = s * s;
    V p = splat(0.13263709967222794699);
    p = p * u + 0.13248585756556710793;
    p = p * u + 0.15387168843040076297;
    p = p * u + 0.18181773554921243987;
    p = p * u + 0.22222222679261223557;
    p = p * u + 0.28571428568803116412;
    p = p * u + 0.40000000000007547463;
    p = p * u + 0.6666666666666665832;
    p = p * u + 2.0;
    return n * 0.693147180559945309417 + s * p + (x - x);
}

template <class T, int N>
KFLOW_INLINE Wide<T, N> log_of_at_least_one(const Wide<T, N>& a) {
    return map(a, [](Vec<T> x) { return log_of_at_least_one(x); });
}

}  // namespace
