// The routines of core/simd_table.hpp.

namespace {

template <class T>
void profile(const Kernel& kernel, T* r2, Index n) {
    with_profile<T>(kernel, [=](auto k) {
        Index j = 0;
        for (; j + 2 * kLanes<T> <= n; j += 2 * kLanes<T>) {
            store_wide(r2 + j, k.value(load_wide<2>(r2 + j)));
        }
        for (; j + kLanes<T> <= n; j += kLanes<T>) {
            store(r2 + j, k.value(load(r2 + j)));
        }
        if (j < n) {
            store_part(r2 + j, k.value(load_part(r2 + j, n - j)), n - j);
        }
    });
}

template <class T>
void profile_and_slope(const Kernel& kernel, const T* r2, T* value, T* slope, Index n) {
    with_profile<T>(kernel, [=](auto k) {
        Index j = 0;
        for (; j + kLanes<T> <= n; j += kLanes<T>) {
            const auto both = k.both(load(r2 + j));
            store(value + j, both.value);
            store(slope + j, both.slope);
        }
        if (j < n) {
            const auto both = k.both(load_part(r2 + j, n - j));
            store_part(value + j, both.value, n - j);
            store_part(slope + j, both.slope, n - j);
        }
    });
}

template <class T>
bool distances_of_products(T* s, T x_norm, const T* z_norms, T tolerance, Index n) {
    Vec<T> margin = splat(T(1));
    const auto step = [&](Vec<T> products, Vec<T> z) {
        const Vec<T> norms = z + x_norm;
        const Vec<T> r2 = at_least(T(0), norms - (products + products));
        margin = where_less(r2, norms * tolerance, splat(T(-1)), margin);
        return r2;
    };
    Index j = 0;
    for (; j + kLanes<T> <= n; j += kLanes<T>) {
        store(s + j, step(load(s + j), load(z_norms + j)));
    }
    if (j < n) {
        store_part(s + j, step(load_part(s + j, n - j), load_part(z_norms + j, n - j)), n - j);
    }
    for (Index lane = 0; lane < kLanes<T>; ++lane) {
        if (margin[lane] < T(0)) {
            return true;
        }
    }
    return false;
}

// R rows times two vectors of columns, with the sums in registers. `b` points at those columns of
// the first row of their panel.
template <class T, int R>
KFLOW_INLINE void gemm_block(MatrixView<const T> a, const T* b, MatrixView<T> c, Index i, Index j) {
    Vec<T> sums[R][2] = {};
    for (Index k = 0; k < a.cols; ++k) {
        const Vec<T> b0 = load(b + k * kPadding);
        const Vec<T> b1 = load(b + k * kPadding + kLanes<T>);
        for (int r = 0; r < R; ++r) {
            const T factor = a(i + r, k);
            sums[r][0] += factor * b0;
            sums[r][1] += factor * b1;
        }
    }
    const Index n = c.cols - j;
    for (int r = 0; r < R; ++r) {
        T* out = c.row(i + r) + j;
        if (n >= 2 * kLanes<T>) {
            store(out, sums[r][0]);
            store(out + kLanes<T>, sums[r][1]);
        } else if (n > kLanes<T>) {
            store(out, sums[r][0]);
            store_part(out + kLanes<T>, sums[r][1], n - kLanes<T>);
        } else {
            store_part(out, sums[r][0], n);
        }
    }
}

template <class T>
void gemm(MatrixView<const T> a, const T* b, MatrixView<T> c) {
    for (Index j = 0; j < c.cols; j += 2 * kLanes<T>) {
        const T* columns = b + j / kPadding * a.cols * kPadding + j % kPadding;
        Index i = 0;
        for (; i + 6 <= c.rows; i += 6) {
            gemm_block<T, 6>(a, columns, c, i, j);
        }
        switch (c.rows - i) {
            case 5:
                gemm_block<T, 5>(a, columns, c, i, j);
                break;
            case 4:
                gemm_block<T, 4>(a, columns, c, i, j);
                break;
            case 3:
                gemm_block<T, 3>(a, columns, c, i, j);
                break;
            case 2:
                gemm_block<T, 2>(a, columns, c, i, j);
                break;
            case 1:
                gemm_block<T, 1>(a, columns, c, i, j);
                break;
        }
    }
}

template <class T>
void add_scaled(const T* x, const T* g, T step, T* out, Index n) {
    Index i = 0;
    for (; i + kLanes<T> <= n; i += kLanes<T>) {
        store(out + i, load(x + i) + step * load(g + i));
    }
    if (i < n) {
        store_part(out + i, load_part(x + i, n - i) + step * load_part(g + i, n - i), n - i);
    }
}

template <class T>
T centre(const T* x, const T* shift, T* out, Index n) {
    Vec<T> sum = {};
    Index i = 0;
    for (; i + kLanes<T> <= n; i += kLanes<T>) {
        const Vec<T> v = load(x + i) - load(shift + i);
        sum += v * v;
        store(out + i, v);
    }
    if (i < n) {
        const Vec<T> v = load_part(x + i, n - i) - load_part(shift + i, n - i);
        sum += v * v;
        store_part(out + i, v, n - i);
    }
    return horizontal_sum<T>(sum);
}

template <class T>
T dot(const T* x, const T* y, Index n) {
    Vec<T> sum = {};
    Index i = 0;
    for (; i + kLanes<T> <= n; i += kLanes<T>) {
        sum += load(x + i) * load(y + i);
    }
    if (i < n) {
        sum += load_part(x + i, n - i) * load_part(y + i, n - i);
    }
    return horizontal_sum<T>(sum);
}

template <class T>
bool all_finite(const T* x, Index n) {
    // 0 times a number is 0, 0 times NaN or infinity is NaN, which stays.
    Vec<T> sums[4] = {};
    Index i = 0;
    for (; i + 4 * kLanes<T> <= n; i += 4 * kLanes<T>) {
        for (int k = 0; k < 4; ++k) {
            sums[k] += load(x + i + k * kLanes<T>) * T(0);
        }
    }
    for (; i + kLanes<T> <= n; i += kLanes<T>) {
        sums[0] += load(x + i) * T(0);
    }
    if (i < n) {
        sums[0] += load_part(x + i, n - i) * T(0);
    }
    return horizontal_sum<T>(sums[0] + sums[1] + sums[2] + sums[3]) == T(0);
}

template <class T>
constexpr SimdRoutines<T> routines() {
    return {profile<T>,
            profile_and_slope<T>,
            distances_of_products<T>,
            kPanel<T>,
            kGroup,
            pack<T>,
            unpack<T>,
            multiply_panels<T>,
            kernel_panels<T>,
            fused<T>,
            gemm<T>,
            add_scaled<T>,
            centre<T>,
            dot<T>,
            all_finite<T>};
}

}  // namespace
