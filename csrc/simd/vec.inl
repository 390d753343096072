// Vectors of KFLOW_VECTOR_BYTES bytes through the vector extension of GCC and Clang. Everything is
// in the anonymous namespace: a symbol shared between instruction sets could be linked from the
// wrong one and fault on an older processor.

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
inline Vec<T> load(const T* p) {
    Vec<T> v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

template <class T>
inline void store(T* p, Vec<T> v) {
    __builtin_memcpy(p, &v, sizeof v);
}

// The rest of an array that is shorter than a vector; the missing lanes are zero.
template <class T>
inline Vec<T> load_part(const T* p, Index n) {
    Vec<T> v = {};
    __builtin_memcpy(&v, p, static_cast<std::size_t>(n) * sizeof(T));
    return v;
}

template <class T>
inline void store_part(T* p, Vec<T> v, Index n) {
    __builtin_memcpy(p, &v, static_cast<std::size_t>(n) * sizeof(T));
}

template <class T>
inline Vec<T> splat(T x) {
    return x - Vec<T>{};
}

template <class V, class B>
inline V bit_cast(B b) {
    V v;
    static_assert(sizeof v == sizeof b, "same size");
    __builtin_memcpy(&v, &b, sizeof v);
    return v;
}

// Lane by lane a < b ? x : y, with NaN comparing false.
template <class V>
inline V where_less(V a, V b, V x, V y) {
    return a < b ? x : y;
}

template <class T>
inline T horizontal_sum(Vec<T> v) {
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

inline Vec<float> sqrt(Vec<float> v) {
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

inline Vec<double> sqrt(Vec<double> v) {
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

}  // namespace
