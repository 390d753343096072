// Discrete Fourier transforms of as many arrays side by side as a register has lanes.

namespace {

template <class T>
struct Complex {
    Vec<T> re, im;
};

template <class T>
KFLOW_INLINE Complex<T> operator+(Complex<T> a, Complex<T> b) {
    return {a.re + b.re, a.im + b.im};
}
template <class T>
KFLOW_INLINE Complex<T> operator-(Complex<T> a, Complex<T> b) {
    return {a.re - b.re, a.im - b.im};
}
template <class T>
KFLOW_INLINE Complex<T> operator*(T a, Complex<T> b) {
    return {a * b.re, a * b.im};
}
// a - i b and a + i b
template <class T>
KFLOW_INLINE Complex<T> minus_i(Complex<T> a, Complex<T> b) {
    return {a.re + b.im, a.im - b.re};
}
template <class T>
KFLOW_INLINE Complex<T> plus_i(Complex<T> a, Complex<T> b) {
    return {a.re - b.im, a.im + b.re};
}
template <class T>
KFLOW_INLINE Complex<T> turned(Complex<T> a, const T* factor) {
    return {a.re * factor[0] - a.im * factor[1], a.re * factor[1] + a.im * factor[0]};
}

// Complex elements that follow each other by `step` numbers. The inverse transform is the transform
// with real and imaginary parts exchanged.
template <class T, class Number>
struct Line {
    Number* re;
    Number* im;
    Index step;

    KFLOW_INLINE Complex<T> get(Index i) const {
        return {load(re + i * step), load(im + i * step)};
    }
    KFLOW_INLINE void set(Index i, Complex<T> z) const {
        store(re + i * step, z.re);
        store(im + i * step, z.im);
    }
};

template <class T>
using In = Line<T, const T>;
template <class T>
using Out = Line<T, T>;

// The transform of R numbers in place.
template <class T>
KFLOW_INLINE void small_transform(Complex<T> (&x)[2]) {
    const Complex<T> sum = x[0] + x[1];
    x[1] = x[0] - x[1];
    x[0] = sum;
}

template <class T>
KFLOW_INLINE void small_transform(Complex<T> (&x)[3]) {
    const Complex<T> sum = x[1] + x[2],
                     turned_by_i = T(0.866025403784438646763723170752936183L) * (x[1] - x[2]);
    const Complex<T> middle = x[0] - T(0.5) * sum;
    x[0] = x[0] + sum;
    x[1] = minus_i(middle, turned_by_i);
    x[2] = plus_i(middle, turned_by_i);
}

template <class T>
KFLOW_INLINE void small_transform(Complex<T> (&x)[4]) {
    const Complex<T> a = x[0] + x[2], b = x[0] - x[2], c = x[1] + x[3], d = x[1] - x[3];
    x[0] = a + c;
    x[1] = minus_i(b, d);
    x[2] = a - c;
    x[3] = plus_i(b, d);
}

template <class T>
KFLOW_INLINE void small_transform(Complex<T> (&x)[5]) {
    // Cosines and sines of 72 and 144 degrees.
    constexpr T c1 = T(0.309016994374947424102293417182819059L);
    constexpr T c2 = T(-0.809016994374947424102293417182819059L);
    constexpr T s1 = T(0.951056516295153572116439333379382143L);
    constexpr T s2 = T(0.587785252292473129168705954639072769L);
    const Complex<T> a = x[1] + x[4], b = x[2] + x[3], c = x[1] - x[4], d = x[2] - x[3];
    const Complex<T> first = x[0] + c1 * a + c2 * b, second = x[0] + c2 * a + c1 * b;
    const Complex<T> p = s1 * c + s2 * d, q = s2 * c - s1 * d;
    x[0] = x[0] + a + b;
    x[1] = minus_i(first, p);
    x[4] = plus_i(first, p);
    x[2] = minus_i(second, q);
    x[3] = plus_i(second, q);
}

// One stage: s m small transforms of the radix R, where s is the product of the radices before and
// n = s m R.
template <class T, int R>
void fourier_stage(const T* factors, Index m, Index s, In<T> in, Out<T> out) {
    factors += 2 * R;
    for (Index p = 0; p < m; ++p, factors += 2 * (R - 1)) {
        for (Index q = 0; q < s; ++q) {
            Complex<T> x[R];
            for (int i = 0; i < R; ++i) {
                x[i] = in.get(q + s * (p + m * i));
            }
            small_transform(x);
            out.set(q + s * R * p, x[0]);
            for (int c = 1; c < R; ++c) {
                const Index place = q + s * (R * p + c);
                out.set(place, m == 1 ? x[c] : turned(x[c], factors + 2 * (c - 1)));
            }
        }
    }
}

// The same for any other radix, by its definition.
template <class T>
void fourier_stage_of(Index radix, const T* factors, Index m, Index s, In<T> in, Out<T> out) {
    const T* roots = factors;
    factors += 2 * radix;
    for (Index p = 0; p < m; ++p, factors += 2 * (radix - 1)) {
        for (Index q = 0; q < s; ++q) {
            for (Index c = 0; c < radix; ++c) {
                Complex<T> sum = in.get(q + s * p);
                for (Index i = 1; i < radix; ++i) {
                    sum = sum + turned(in.get(q + s * (p + m * i)), roots + 2 * (i * c % radix));
                }
                out.set(q + s * (radix * p + c), c == 0 ? sum : turned(sum, factors + 2 * (c - 1)));
            }
        }
    }
}

template <class T>
KFLOW_INLINE In<T> readable(Out<T> z) {
    return {z.re, z.im, z.step};
}

// Transforms one line in place, through two others.
template <class T>
void fourier_line(const FourierLine<T>& plan, Out<T> z, const Out<T> (&room)[2]) {
    In<T> in = readable(z);
    if (plan.n_stages == 1) {  // it would overwrite what it still reads
        for (Index i = 0; i < plan.n; ++i) {
            room[1].set(i, in.get(i));
        }
        in = readable(room[1]);
    }
    const T* factors = plan.factors;
    Index m = plan.n, s = 1;
    for (int stage = 0; stage < plan.n_stages; ++stage) {
        const int radix = plan.radices[stage];
        const Out<T> out = stage + 1 == plan.n_stages ? z : room[stage % 2];
        m /= radix;
        switch (radix) {
            case 2:
                fourier_stage<T, 2>(factors, m, s, in, out);
                break;
            case 3:
                fourier_stage<T, 3>(factors, m, s, in, out);
                break;
            case 4:
                fourier_stage<T, 4>(factors, m, s, in, out);
                break;
            case 5:
                fourier_stage<T, 5>(factors, m, s, in, out);
                break;
            default:
                fourier_stage_of<T>(radix, factors, m, s, in, out);
        }
        factors += 2 * (radix + m * (radix - 1));
        s *= radix;
        in = readable(out);
    }
}

template <class T>
void fourier(const FourierLine<T>& down, const FourierLine<T>& along, bool inverse, T* z,
             T* scratch) {
    constexpr Index L = kLanes<T>;
    const Index re = inverse ? L : 0, im = L - re;
    const Index longer = down.n < along.n ? along.n : down.n;
    T* second = scratch + 2 * L * longer;
    const Out<T> room[2] = {{scratch, scratch + L, 2 * L}, {second, second + L, 2 * L}};
    for (Index row = 0; row < down.n; ++row) {
        T* start = z + row * along.n * 2 * L;
        fourier_line<T>(along, {start + re, start + im, 2 * L}, room);
    }
    for (Index column = 0; column < along.n; ++column) {
        T* start = z + column * 2 * L;
        fourier_line<T>(down, {start + re, start + im, along.n * 2 * L}, room);
    }
}

}  // namespace
