// Vectors of KFLOW_VECTOR_BYTES bytes through the vector extension of GCC and Clang. Everything is
// in the anonymous namespace: a symbol shared between instruction sets could be linked from the
// wrong one and fault on an older processor.

// Whatever works on registers inside a loop: a call would spill them all.
#define KFLOW_INLINE [[gnu::always_inline]] inline

namespace {

template <class T>
struct VecOf;
template <>
struct VecOf<float> {
    typedef float type __attribute__((vector_size(KFLOW_VECTOR_BYTES)));
    typedef std::uint32_t bits __attribute__((vector_size(KFLOW_VECTOR_BYTES)));
    typedef std::int32_t integers __attribute__((vector_size(KFLOW_VECTOR_BYTES)));
};
template <>
struct VecOf<double> {
    typedef double type __attribute__((vector_size(KFLOW_VECTOR_BYTES)));
    typedef std::uint64_t bits __attribute__((vector_size(KFLOW_VECTOR_BYTES)));
    typedef std::int64_t integers __attribute__((vector_size(KFLOW_VECTOR_BYTES)));
};

template <class T>
using Vec = typename VecOf<T>::type;
template <class T>
using Bits = typename VecOf<T>::bits;  // unsigned: those of a NaN may overflow
template <class T>
using Integers = typename VecOf<T>::integers;

template <class T>
constexpr Index kLanes = KFLOW_VECTOR_BYTES / sizeof(T);

template <class T>
KFLOW_INLINE Vec<T> load(const T* p) {
    Vec<T> v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

template <class T>
KFLOW_INLINE void store(T* p, Vec<T> v) {
    __builtin_memcpy(p, &v, sizeof v);
}

// The rest of an array that is shorter than a vector; the missing lanes are zero.
#if defined(__AVX512F__) && KFLOW_VECTOR_BYTES == 64

KFLOW_INLINE __mmask16 first_lanes(Index n) { return static_cast<__mmask16>((1u << n) - 1u); }

KFLOW_INLINE Vec<float> load_part(const float* p, Index n) {
    return (Vec<float>)_mm512_maskz_loadu_ps(first_lanes(n), p);
}
KFLOW_INLINE Vec<double> load_part(const double* p, Index n) {
    return (Vec<double>)_mm512_maskz_loadu_pd(static_cast<__mmask8>(first_lanes(n)), p);
}
KFLOW_INLINE void store_part(float* p, Vec<float> v, Index n) {
    _mm512_mask_storeu_ps(p, first_lanes(n), (__m512)v);
}
KFLOW_INLINE void store_part(double* p, Vec<double> v, Index n) {
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>(first_lanes(n)), (__m512d)v);
}

#else

template <class T>
KFLOW_INLINE Vec<T> load_part(const T* p, Index n) {
    Vec<T> v = {};
    __builtin_memcpy(&v, p, static_cast<std::size_t>(n) * sizeof(T));
    return v;
}

template <class T>
KFLOW_INLINE void store_part(T* p, Vec<T> v, Index n) {
    __builtin_memcpy(p, &v, static_cast<std::size_t>(n) * sizeof(T));
}

#endif

template <class T>
KFLOW_INLINE Vec<T> splat(T x) {
    return x - Vec<T>{};
}

template <class V, class B>
KFLOW_INLINE V bit_cast(B b) {
    V v;
    static_assert(sizeof v == sizeof b, "same size");
    __builtin_memcpy(&v, &b, sizeof v);
    return v;
}

// Lane by lane a < b ? x : y, with NaN comparing false.
template <class V>
KFLOW_INLINE V where_less(V a, V b, V x, V y) {
    return a < b ? x : y;
}

template <class T>
KFLOW_INLINE T horizontal_sum(Vec<T> v) {
    // Pairwise, so that the order is fixed and the error small.
    T lane[kLanes<T>];
    __builtin_memcpy(lane, &v, sizeof v);
    for (Index width = kLanes<T> / 2; width > 0; width /= 2) {
        for (Index i = 0; i < width; ++i) {
            lane[i] += lane[i + width];
        }
    }
    return lane[0];
}

// Row i of a block of 2 S rows and row i + S exchange the parts that a transpose moves between
// them.
template <class T, std::size_t S, std::size_t... J>
KFLOW_INLINE void exchange(Vec<T>& a, Vec<T>& b, std::index_sequence<J...>) {
    constexpr std::size_t n = sizeof...(J);
    const Vec<T> low = __builtin_shufflevector(a, b, ((J & S) ? n + J - S : J)...);
    b = __builtin_shufflevector(a, b, ((J & S) ? n + J : J + S)...);
    a = low;
}

// Transposes the square matrix with rows v[0] ... v[kLanes - 1].
template <class T, std::size_t S = 1>
KFLOW_INLINE void transpose(Vec<T>* v) {
    constexpr std::size_t n = kLanes<T>;
    if constexpr (S < n) {
        for (std::size_t i = 0; i < n; ++i) {
            if ((i & S) == 0) {
                exchange<T, S>(v[i], v[i + S], std::make_index_sequence<n>());
            }
        }
        transpose<T, 2 * S>(v);
    }
}

KFLOW_INLINE Vec<float> sqrt(Vec<float> v) {
#if defined(__AVX512F__) && KFLOW_VECTOR_BYTES == 64
    return (Vec<float>)_mm512_sqrt_ps((__m512)v);
#elif defined(__AVX__) && KFLOW_VECTOR_BYTES == 32
    return (Vec<float>)_mm256_sqrt_ps((__m256)v);
#elif defined(__SSE2__) && KFLOW_VECTOR_BYTES == 16
    return (Vec<float>)_mm_sqrt_ps((__m128)v);
#else
    for (Index i = 0; i < kLanes<float>; ++i) {
        v[i] = __builtin_sqrtf(v[i]);
    }
    return v;
#endif
}

KFLOW_INLINE Vec<double> sqrt(Vec<double> v) {
#if defined(__AVX512F__) && KFLOW_VECTOR_BYTES == 64
    return (Vec<double>)_mm512_sqrt_pd((__m512d)v);
#elif defined(__AVX__) && KFLOW_VECTOR_BYTES == 32
    return (Vec<double>)_mm256_sqrt_pd((__m256d)v);
#elif defined(__SSE2__) && KFLOW_VECTOR_BYTES == 16
    return (Vec<double>)_mm_sqrt_pd((__m128d)v);
#else
    for (Index i = 0; i < kLanes<double>; ++i) {
        v[i] = __builtin_sqrt(v[i]);
    }
    return v;
#endif
}

// N registers that go through the same operations side by side: a processor waits less for the
// results of a long chain of operations when others stand next to them in the program.
template <class T, int N>
struct Wide {
    Vec<T> v[N];
};

template <int N, class T>
KFLOW_INLINE Wide<T, N> load_wide(const T* p) {
    Wide<T, N> out;
    for (int i = 0; i < N; ++i) {
        out.v[i] = load(p + i * kLanes<T>);
    }
    return out;
}

template <class T, int N>
KFLOW_INLINE void store_wide(T* p, const Wide<T, N>& a) {
    for (int i = 0; i < N; ++i) {
        store(p + i * kLanes<T>, a.v[i]);
    }
}

template <class T, int N, class Function>
KFLOW_INLINE Wide<T, N> map(const Wide<T, N>& a, Function function) {
    Wide<T, N> out;
    for (int i = 0; i < N; ++i) {
        out.v[i] = function(a.v[i]);
    }
    return out;
}

template <class T, int N, class Function>
KFLOW_INLINE Wide<T, N> map(const Wide<T, N>& a, const Wide<T, N>& b, Function function) {
    Wide<T, N> out;
    for (int i = 0; i < N; ++i) {
        out.v[i] = function(a.v[i], b.v[i]);
    }
    return out;
}

template <class T, int N>
KFLOW_INLINE Wide<T, N> operator+(const Wide<T, N>& a, const Wide<T, N>& b) {
    return map(a, b, [](Vec<T> x, Vec<T> y) { return x + y; });
}
template <class T, int N>
KFLOW_INLINE Wide<T, N> operator-(const Wide<T, N>& a, const Wide<T, N>& b) {
    return map(a, b, [](Vec<T> x, Vec<T> y) { return x - y; });
}
template <class T, int N>
KFLOW_INLINE Wide<T, N> operator*(const Wide<T, N>& a, const Wide<T, N>& b) {
    return map(a, b, [](Vec<T> x, Vec<T> y) { return x * y; });
}
template <class T, int N>
KFLOW_INLINE Wide<T, N> operator+(const Wide<T, N>& a, T b) {
    return map(a, [b](Vec<T> x) { return x + b; });
}
template <class T, int N>
KFLOW_INLINE Wide<T, N> operator-(const Wide<T, N>& a, T b) {
    return map(a, [b](Vec<T> x) { return x - b; });
}
template <class T, int N>
KFLOW_INLINE Wide<T, N> operator*(const Wide<T, N>& a, T b) {
    return map(a, [b](Vec<T> x) { return x * b; });
}
template <class T, int N>
KFLOW_INLINE Wide<T, N> operator/(T a, const Wide<T, N>& b) {
    return map(b, [a](Vec<T> x) { return a / x; });
}
template <class T, int N>
KFLOW_INLINE Wide<T, N> operator/(const Wide<T, N>& a, const Wide<T, N>& b) {
    return map(a, b, [](Vec<T> x, Vec<T> y) { return x / y; });
}
template <class T, int N>
KFLOW_INLINE Wide<T, N> operator-(const Wide<T, N>& a) {
    return map(a, [](Vec<T> x) { return -x; });
}
template <class T, int N>
KFLOW_INLINE Wide<T, N> sqrt(const Wide<T, N>& a) {
    return map(a, [](Vec<T> x) { return sqrt(x); });
}

// a b + c, register by register in one expression, so that one and several registers are rounded
// alike; b and c may be numbers.
template <class V, class B, class C>
KFLOW_INLINE V multiply_add(const V& a, const B& b, const C& c) {
    return a * b + c;
}
template <class T>
KFLOW_INLINE T part(T number, int) {
    return number;
}
template <class T, int N>
KFLOW_INLINE Vec<T> part(const Wide<T, N>& a, int i) {
    return a.v[i];
}
template <class T, int N, class B, class C>
KFLOW_INLINE Wide<T, N> multiply_add(const Wide<T, N>& a, const B& b, const C& c) {
    Wide<T, N> out;
    for (int i = 0; i < N; ++i) {
        out.v[i] = a.v[i] * part(b, i) + part(c, i);
    }
    return out;
}

// Lane by lane the smaller, and the larger; NaN if x is NaN.
template <class T>
KFLOW_INLINE Vec<T> at_most(T limit, Vec<T> x) {
    return where_less(splat(limit), x, splat(limit), x);
}
template <class T, int N>
KFLOW_INLINE Wide<T, N> at_most(T limit, const Wide<T, N>& a) {
    return map(a, [limit](Vec<T> x) { return at_most(limit, x); });
}
template <class T>
KFLOW_INLINE Vec<T> at_least(T limit, Vec<T> x) {
    return where_less(x, splat(limit), splat(limit), x);
}
template <class T, int N>
KFLOW_INLINE Wide<T, N> at_least(T limit, const Wide<T, N>& a) {
    return map(a, [limit](Vec<T> x) { return at_least(limit, x); });
}

}  // namespace
