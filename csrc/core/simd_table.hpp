#pragma once

#include "kflow/kernel.hpp"
#include "kflow/matrix_view.hpp"

namespace kflow::detail {

/// Arrays that the kernels read as columns are padded to a multiple of this many elements, enough
/// for two of the widest registers.
constexpr Index kPadding = 32;

constexpr Index padded(Index n) { return (n + kPadding - 1) / kPadding * kPadding; }

/// The routines that one instruction set provides for one precision.
template <class T>
struct SimdRoutines {
    /// r2[j] <- k(r2[j])
    void (*profile)(const Kernel& kernel, T* r2, Index n);

    /// value[j] = k(r2[j]), slope[j] = dk/d(r^2); a kernel with no slope at 0 has slope 0 there.
    /// `r2` may be `slope`.
    void (*profile_and_slope)(const Kernel& kernel, const T* r2, T* value, T* slope, Index n);

    /// s[j] <- max(0, |x|^2 + |z_j|^2 - 2 s[j]). True if some result is below
    /// tolerance * (|x|^2 + |z_j|^2), where cancellation has eaten its digits.
    bool (*distances_of_products)(T* s, T x_norm, const T* z_norms, T tolerance, Index n);

    /// s[j] <- k(max(0, |x|^2 + |z_j|^2 - 2 s[j])), in one pass.
    void (*profile_of_products)(const Kernel& kernel, T* s, T x_norm, const T* z_norms, Index n);

    /// r2[j] = sum_k (x[k] - zt[k, j])^2, zt (d, m) with padded rows; m is padded.
    void (*direct_distances)(const T* x, Index d, const T* zt, Index m, T* r2);

    /// out (rows, q) = K(x, z) c for small d: distances, profile and accumulation without a stored
    /// tile. zt (d, m), ct (q, m): transposed, with m padded and ct zero in the padding;
    /// `scratch` holds m elements.
    void (*direct_apply)(const Kernel& kernel, MatrixView<const T> x, const T* zt, const T* ct,
                         Index m, Index q, MatrixView<T> out, T* scratch);

    /// c (rows, cols) = a (rows, inner) b (inner, cols), with b packed as core/right_factor.hpp
    /// says.
    void (*gemm)(MatrixView<const T> a, const T* b, MatrixView<T> c);

    /// out[i] = x[i] + step * g[i]; out may be x.
    void (*add_scaled)(const T* x, const T* g, T step, T* out, Index n);

    /// out[i] = x[i] - shift[i], returns sum of out^2.
    T (*centre)(const T* x, const T* shift, T* out, Index n);

    /// sum x[i] y[i]
    T (*dot)(const T* x, const T* y, Index n);

    /// No x[i] is NaN or infinite.
    bool (*all_finite)(const T* x, Index n);
};

struct SimdTable {
    const char* name;
    /// Whether the gemm above is used even where BLAS is there. Prepared once for all tiles, it is
    /// as fast as OpenBLAS's kernels for the same instruction set or faster (bench/limit.py, with
    /// OPENBLAS_CORETYPE). Measured with AVX2 and AVX-512 only.
    bool own_gemm_is_faster;
    SimdRoutines<float> f32;
    SimdRoutines<double> f64;

    template <class T>
    const SimdRoutines<T>& get() const;
};

template <>
inline const SimdRoutines<float>& SimdTable::get<float>() const {
    return f32;
}
template <>
inline const SimdRoutines<double>& SimdTable::get<double>() const {
    return f64;
}

extern const SimdTable kTableBaseline;
#ifdef KFLOW_COMPILE_X86
extern const SimdTable kTableAvx2;
extern const SimdTable kTableAvx512;
#endif
#ifdef KFLOW_COMPILE_NEON
extern const SimdTable kTableNeon;
#endif

/// The table in use.
const SimdTable& simd();

}  // namespace kflow::detail
