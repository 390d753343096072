#pragma once

#include "kflow/matrix_view.hpp"
#include "kflow/profile.hpp"

namespace kflow::detail {

/// Calls body(first, rows) for the groups of almost the same size, at most `largest`, into which n
/// rows are divided. Inlined: the files of core/ and simd/ must not share a copy.
template <class Body>
[[gnu::always_inline]] inline void for_each_group(Index n, Index largest, Body&& body) {
    const Index n_groups = (n + largest - 1) / largest;
    Index first = 0;
    for (Index g = 0; g < n_groups; ++g) {
        const Index rows = n / n_groups + (g < n % n_groups ? 1 : 0);
        body(first, rows);
        first += rows;
    }
}

/// Up to this dimension a kernel operator with d = q needs no stored tile.
constexpr Index kFusedDimension = 3;

/// Centres z (n, d) of a kernel, prepared.
template <class T>
struct Centres {
    const T* groups;  ///< z as row groups
    const T* norms;   ///< |z_j|^2
    Index n, d;
    bool direct;       ///< r^2 by sums of differences, else by |x|^2 + |z|^2 - 2 x.z
    T careful_beyond;  ///< for points with a larger |x|^2, results below close * (|x|^2 + |z|^2),
    T close;           ///< whose digits cancellation has eaten, are replaced by such sums
};

/// Centres of posterior means that lie side by side, whatever the length of a register.
constexpr Index kCentreBlock = 64;

/// The radial parts of the posterior means of q components in d dimensions; see kflow/means.hpp.
template <class T>
struct MeanTerms {
    const Profile* profiles;  ///< (q), with the length scale 1
    const T* rates;           ///< (q, d)
    const T* centres;         ///< (n_blocks, d, kCentreBlock)
    const T* coefficients;    ///< (n_blocks, q, kCentreBlock), 0 where there is no centre
    Index n_blocks;
};

/// The stages of a discrete Fourier transform of n numbers. Each has `factors`: the roots of unity
/// of its radix r, exp(-2 pi i k / r), then the r - 1 twiddle factors of each of its small
/// transforms; real part, imaginary part.
template <class T>
struct FourierLine {
    Index n;
    int n_stages;
    const int* radices;
    const T* factors;
};

/// The routines that one instruction set provides for one precision.
template <class T>
struct SimdRoutines {
    /// value[j] = k(r2[j]); `r2` may be `value`.
    void (*evaluate_profile)(const Profile& profile, const T* r2, T* value, Index n);

    /// value[j] = k(r2[j]), slope[j] = dk/d(r^2); a profile that is steep at 0 has slope 0
    /// there. `r2` may be `slope`.
    void (*evaluate_with_slope)(const Profile& profile, const T* r2, T* value, T* slope, Index n);

    /// out[j] = dk/dalpha at r2[j], of profiles with Alpha::shape.
    void (*evaluate_shape)(const Profile& profile, const T* r2, T* out, Index n);

    /// Points side by side in one panel, and the most rows in one group (see RowGroups).
    Index panel, group;

    /// Panels of x (n, d), centred: panels[p, k, lane] = x[p panel + lane, k] - shift[k], with
    /// anything in lanes that belong to no row; norms[p, lane] = sum_k of its square.
    void (*pack)(MatrixView<const T> x, const T* shift, T* panels, T* norms);

    /// out (n, q) from panels (q, panel).
    void (*unpack)(const T* panels, MatrixView<T> out);

    /// out[p] (rows, panel) = a (rows, inner) panels[p] (inner, panel), a as row groups.
    void (*multiply_panels)(const T* a, Index rows, Index inner, const T* panels, Index n_panels,
                            T* out);

    /// out[p] (z.n, panel) = k(|z_j - x|^2) for the points of each panel.
    void (*kernel_panels)(const Profile& profile, const Centres<T>& z, const T* panels,
                          const T* norms, Index n_panels, T* out);

    /// out[p] (z.n, panel) = |z_j - x|^2 for the points of each panel.
    void (*distance_panels)(const Centres<T>& z, const T* panels, const T* norms, Index n_panels,
                            T* out);

    /// w (n, panel) <- scale product o w, sums[lane] = sum of its rows.
    void (*weigh)(const T* product, T scale, Index n, T* w, T* sums);

    /// Rows [begin, end) of rhs (n, panel) <- U'^-1 rhs, the rows above being done. `own`: rhs is
    /// the panel of u that holds the diagonal of these rows; false if a pivot is not positive.
    bool (*eliminate)(const T* u, Index n, Index begin, Index end, T* rhs, bool own);

    /// The leading rows of rhs (n, panel) <- U^-1 rhs, with the leading block of U.
    void (*back_substitute)(const T* u, Index n, Index leading, T* rhs);

    /// out[p] (d, panel) = sum_j k(|z_j - x|^2) c_j for d <= kFusedDimension, without a stored
    /// tile; centres (m, 2 d) holds z_j, then c_j.
    void (*fused)(const Profile& profile, const T* centres, Index m, Index d, const T* panels,
                  Index n_panels, T* out);

    /// tile (in.rows, panel) = scale in, zero beyond its columns, and back: out = scale tile.
    void (*load_tile)(MatrixView<const T> in, T scale, T* tile);
    void (*store_tile)(const T* tile, T scale, MatrixView<T> out);

    /// out[i] = a x[i] + b y[i]
    void (*combine)(const T* x, T a, const T* y, T b, T* out, Index n);

    /// out[i] = x[i] y[i]
    void (*multiply)(const T* x, const T* y, T* out, Index n);

    /// out[i] = x[i] + step * g[i]; out may be x.
    void (*add_scaled)(const T* x, const T* g, T step, T* out, Index n);

    /// out[i] = x[i] - shift[i], returns sum of out^2.
    T (*centre)(const T* x, const T* shift, T* out, Index n);

    /// sum x[i] y[i]
    T (*dot)(const T* x, const T* y, Index n);

    /// out (n, q): the sums over centres at the points x (n, d). Scratch takes d kCentreBlock
    /// numbers and a register for each sum.
    void (*mean_values)(const MeanTerms<T>& terms, MatrixView<const T> x, T* scratch,
                        MatrixView<T> out);

    /// out (n, q d): their derivatives by x. Scratch takes 2 d kCentreBlock numbers and a register
    /// for each derivative.
    void (*mean_gradients)(const MeanTerms<T>& terms, MatrixView<const T> x, T* scratch,
                           MatrixView<T> out);

    /// Whether no x[i] is NaN or infinite.
    bool (*all_finite)(const T* x, Index n, T factor);

    // Below, every element of an array stands for as many numbers as a register has lanes, each of
    // which belongs to an image of its own. Real arrays hold one register for each element, complex
    // arrays two: real parts, imaginary parts.

    /// Numbers in one register.
    Index lanes;

    /// z (down.n, along.n) <- its two-dimensional discrete Fourier transform, or the inverse one
    /// without its factor 1 / (down.n along.n). `scratch` has room for 2 elements of the longer
    /// side.
    void (*fourier)(const FourierLine<T>& down, const FourierLine<T>& along, bool inverse, T* z,
                    T* scratch);

    /// z[i] = x[i], a real number; and x[i] += re z[i].
    void (*to_complex)(const T* x, Index n, T* z);
    void (*add_real)(const T* z, Index n, T* x);

    /// out (rows / k, cols / k) = sum of the k^2 parts of that shape into which z wave is divided.
    void (*filter_down)(const T* z, const T* wave, Index rows, Index cols, Index k, T* out);

    /// z (rows, cols) += wave (rows, cols) times the periodic continuation of in (rows / k, cols /
    /// k).
    void (*filter_up)(const T* in, const T* wave, Index rows, Index cols, Index k, T* z);

    /// x[i] = |z[i]|; and z[i] <- x[i] z[i] / |z[i]|, 0 where z[i] is 0.
    void (*modulus)(const T* z, Index n, T* x);
    void (*turn)(const T* x, Index n, T* z);

    /// out(i, j) = sum_k a[i, k] in(k, j) for i < n_out, j < n and k < n_in. Elements follow each
    /// other, in numbers, by the steps given for their two indices.
    void (*mix)(const T* a, Index n_out, Index n_in, const T* in, Index step_k, Index step_j,
                Index n, T* out, Index out_step_i, Index out_step_j);
};

struct SimdTable {
    const char* name;
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
