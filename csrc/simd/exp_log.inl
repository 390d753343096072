// Branch-free exp for arguments <= 0 and log for arguments >= 1.
//
// exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln 2 / 2; exp(r) by its Chebyshev interpolant
// (degree 6 in float, 11 in double, both below 2e-9 and 4e-18 relative). n is rounded by adding and
// subtracting 1.5 * 2^mantissa, which leaves n in the low bits: re-association would break it.
// Results below the smallest normal number are 0; NaN stays NaN.
//
// log(x) = e ln 2 + 2 atanh(s), s = (m - 1) / (m + 1), x = 2^e m, sqrt(1/2) <= m < sqrt(2), where
// atanh(s) / s is a polynomial in s^2.

namespace {

inline Vec<float> exp_nonpositive(Vec<float> x) {
    using V = Vec<float>;
    const V lowest = splat(-87.3365447f);  // ln of the smallest normal number
    const V magic = splat(12582912.0f);
    const V clamped = where_less(x, lowest, lowest, x);
    const V shifted = clamped * 1.44269504088896341f + magic;
    const V n = shifted - magic;
    V r = clamped - n * 0.693359375f;
    r = r + n * 2.12194440054690583e-4f;
    V p = splat(0.0013941118895837f);
    p = p * r + 0.00837513477462433f;
    p = p * r + 0.0416663527711122f;
    p = p * r + 0.166664154160410f;
    p = p * r + 0.500000004714606f;
    p = p * r + 1.00000003773887f;
    p = p * r + 1.0f;
    const Bits<float> exponent =
        bit_cast<Bits<float>>(shifted) - bit_cast<Bits<float>>(magic) + 127;
    const V scale = bit_cast<V>(exponent << 23);
    return where_less(x, lowest, V{}, p * scale);
}

inline Vec<double> exp_nonpositive(Vec<double> x) {
    using V = Vec<double>;
    const V lowest = splat(-708.39641853226408);
    const V magic = splat(6755399441055744.0);
    const V clamped = where_less(x, lowest, lowest, x);
    const V shifted = clamped * 1.44269504088896340736 + magic;
    const V n = shifted - magic;
    V r = clamped - n * 6.93145751953125e-1;
    r = r - n * 1.42860682030941723212e-6;
    V p = splat(2.5110049204818659793e-8);
    p = p * r + 2.763265472252779189e-7;
    p = p * r + 2.7557240887229868596e-6;
    p = p * r + 0.000024801485441561312966;
    p = p * r + 0.00019841269890076402829;
    p = p * r + 0.0013888888952352862866;
    p = p * r + 0.0083333333333195896163;
    p = p * r + 0.04166666666648795252;
    p = p * r + 0.1666666666666668082;
    p = p * r + 0.50000000000000184039;
    p = p * r + 1.0;
    p = p * r + 1.0;
    const Bits<double> exponent =
        bit_cast<Bits<double>>(shifted) - bit_cast<Bits<double>>(magic) + 1023;
    const V scale = bit_cast<V>(exponent << 52);
    return where_less(x, lowest, V{}, p * scale);
}

inline Vec<float> log_of_at_least_one(Vec<float> x) {
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

inline Vec<double> log_of_at_least_one(Vec<double> x) {
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

}  // namespace
