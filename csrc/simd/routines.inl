// The routines of core/simd_table.hpp.

namespace {

template <class T>
void evaluate_profile(const Profile& profile, const T* r2, T* value, Index n) {
    with_profile<T>(profile, [=](auto k) {
        Index j = 0;
        for (; j + 2 * kLanes<T> <= n; j += 2 * kLanes<T>) {
            store_wide(value + j, k.value(load_wide<2>(r2 + j)));
        }
        for (; j + kLanes<T> <= n; j += kLanes<T>) {
            store(value + j, k.value(load(r2 + j)));
        }
        if (j < n) {
            store_part(value + j, k.value(load_part(r2 + j, n - j)), n - j);
        }
    });
}

template <class T>
void evaluate_with_slope(const Profile& profile, const T* r2, T* value, T* slope, Index n) {
    with_profile<T>(profile, [=](auto k) {
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
void evaluate_shape(const Profile& profile, const T* r2, T* out, Index n) {
    with_profile<T>(profile, [=](auto k) {
        if constexpr (has_shape<T, decltype(k)>) {
            Index j = 0;
            for (; j + kLanes<T> <= n; j += kLanes<T>) {
                store(out + j, k.shape(load(r2 + j)));
            }
            if (j < n) {
                store_part(out + j, k.shape(load_part(r2 + j, n - j)), n - j);
            }
        }
    });
}

template <class T>
void weigh(const T* product, T scale, Index n, T* w, T* sums) {
    Wide<T, 2> sum = {};
    for (Index i = 0; i < n; ++i) {
        const auto weighed =
            load_wide<2>(w + i * kPanel<T>) * load_wide<2>(product + i * kPanel<T>);
        const auto scaled = weighed * scale;
        sum = sum + scaled;
        store_wide(w + i * kPanel<T>, scaled);
    }
    store_wide(sums, sum);
}

template <class T>
void load_tile(MatrixView<const T> in, T scale, T* tile) {
    constexpr Index L = kLanes<T>;
    for (Index r = 0; r < in.rows; ++r, tile += kPanel<T>) {
        for (Index lane = 0; lane < kPanel<T>; lane += L) {
            const T* p = in.row(r) + lane;
            const Index rest = in.cols - lane;
            const Vec<T> v = rest >= L ? load(p) : rest > 0 ? load_part(p, rest) : Vec<T>{};
            store(tile + lane, scale * v);
        }
    }
}

template <class T>
void store_tile(const T* tile, T scale, MatrixView<T> out) {
    constexpr Index L = kLanes<T>;
    for (Index r = 0; r < out.rows; ++r, tile += kPanel<T>) {
        for (Index lane = 0; lane < out.cols; lane += L) {
            const Vec<T> v = scale * load(tile + lane);
            if (out.cols - lane >= L) {
                store(out.row(r) + lane, v);
            } else {
                store_part(out.row(r) + lane, v, out.cols - lane);
            }
        }
    }
}

template <class T>
void combine(const T* x, T a, const T* y, T b, T* out, Index n) {
    Index i = 0;
    for (; i + kLanes<T> <= n; i += kLanes<T>) {
        store(out + i, a * load(x + i) + b * load(y + i));
    }
    if (i < n) {
        store_part(out + i, a * load_part(x + i, n - i) + b * load_part(y + i, n - i), n - i);
    }
}

template <class T>
void multiply(const T* x, const T* y, T* out, Index n) {
    Index i = 0;
    for (; i + kLanes<T> <= n; i += kLanes<T>) {
        store(out + i, load(x + i) * load(y + i));
    }
    if (i < n) {
        store_part(out + i, load_part(x + i, n - i) * load_part(y + i, n - i), n - i);
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
    // Four sums: one alone would wait for each of its additions.
    Vec<T> sums[4] = {};
    Index i = 0;
    for (; i + 4 * kLanes<T> <= n; i += 4 * kLanes<T>) {
        for (int k = 0; k < 4; ++k) {
            sums[k] += load(x + i + k * kLanes<T>) * load(y + i + k * kLanes<T>);
        }
    }
    for (; i + kLanes<T> <= n; i += kLanes<T>) {
        sums[0] += load(x + i) * load(y + i);
    }
    if (i < n) {
        sums[0] += load_part(x + i, n - i) * load_part(y + i, n - i);
    }
    return horizontal_sum<T>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

template <class T>
bool all_finite(const T* x, Index n, T factor) {
    // 0 times a number is 0, 0 times NaN or infinity is NaN, which stays.
    Vec<T> sums[4] = {};
    Index i = 0;
    for (; i + 4 * kLanes<T> <= n; i += 4 * kLanes<T>) {
        for (int k = 0; k < 4; ++k) {
            sums[k] += load(x + i + k * kLanes<T>) * factor * T(0);
        }
    }
    for (; i + kLanes<T> <= n; i += kLanes<T>) {
        sums[0] += load(x + i) * factor * T(0);
    }
    if (i < n) {
        sums[0] += load_part(x + i, n - i) * factor * T(0);
    }
    return horizontal_sum<T>(sums[0] + sums[1] + sums[2] + sums[3]) == T(0);
}

template <class T>
constexpr SimdRoutines<T> routines() {
    return {evaluate_profile<T>,
            evaluate_with_slope<T>,
            evaluate_shape<T>,
            kPanel<T>,
            kGroup,
            pack<T>,
            unpack<T>,
            multiply_panels<T>,
            kernel_panels<T>,
            distance_panels<T>,
            weigh<T>,
            eliminate<T>,
            back_substitute<T>,
            fused<T>,
            load_tile<T>,
            store_tile<T>,
            combine<T>,
            multiply<T>,
            add_scaled<T>,
            centre<T>,
            dot<T>,
            mean_values<T>,
            mean_gradients<T>,
            all_finite<T>,
            kLanes<T>,
            fourier<T>,
            to_complex<T>,
            add_real<T>,
            filter_down<T>,
            filter_up<T>,
            modulus<T>,
            turn<T>,
            mix<T>};
}

}  // namespace
