// What a scattering transform does besides Fourier transforms; see core/simd_table.hpp.

namespace {

template <class T>
void to_complex(const T* x, Index n, T* z) {
    for (Index i = 0; i < n; ++i) {
        store(z + 2 * i * kLanes<T>, load(x + i * kLanes<T>));
        store(z + (2 * i + 1) * kLanes<T>, Vec<T>{});
    }
}

template <class T>
void add_real(const T* z, Index n, T* x) {
    for (Index i = 0; i < n; ++i) {
        store(x + i * kLanes<T>, load(x + i * kLanes<T>) + load(z + 2 * i * kLanes<T>));
    }
}

template <class T>
void filter_down(const T* z, const T* wave, Index rows, Index cols, Index k, T* out) {
    constexpr Index L = kLanes<T>;
    const Index m = rows / k, n = cols / k;
    for (Index row = 0; row < m; ++row) {
        for (Index column = 0; column < n; ++column, out += 2 * L) {
            Complex<T> sum = {};
            for (Index a = row; a < rows; a += m) {
                for (Index b = column; b < cols; b += n) {
                    const T factor = wave[a * cols + b];
                    const T* p = z + (a * cols + b) * 2 * L;
                    sum.re += factor * load(p);
                    sum.im += factor * load(p + L);
                }
            }
            store(out, sum.re);
            store(out + L, sum.im);
        }
    }
}

template <class T>
void filter_up(const T* in, const T* wave, Index rows, Index cols, Index k, T* z) {
    constexpr Index L = kLanes<T>;
    const Index m = rows / k, n = cols / k;
    for (Index a = 0; a < rows; ++a) {
        for (Index b = 0; b < cols; ++b, ++wave, z += 2 * L) {
            const T* p = in + (a % m * n + b % n) * 2 * L;
            store(z, load(z) + *wave * load(p));
            store(z + L, load(z + L) + *wave * load(p + L));
        }
    }
}

template <class T>
void modulus(const T* z, Index n, T* x) {
    constexpr Index L = kLanes<T>;
    for (Index i = 0; i < n; ++i, z += 2 * L) {
        const Vec<T> re = load(z), im = load(z + L);
        store(x + i * L, sqrt(re * re + im * im));
    }
}

template <class T>
void turn(const T* x, Index n, T* z) {
    constexpr Index L = kLanes<T>;
    for (Index i = 0; i < n; ++i, z += 2 * L) {
        const Vec<T> re = load(z), im = load(z + L);
        const Vec<T> size = sqrt(re * re + im * im);
        const Vec<T> factor = where_less(Vec<T>{}, size, load(x + i * L) / size, Vec<T>{});
        store(z, factor * re);
        store(z + L, factor * im);
    }
}

// R times C sums in registers.
template <class T, int R, int C>
KFLOW_INLINE void mix_block(const T* a, Index n_in, const T* in, Index step_k, Index step_j, T* out,
                            Index out_step_i, Index out_step_j) {
    Vec<T> sums[R][C] = {};
    for (Index k = 0; k < n_in; ++k, in += step_k) {
        Vec<T> v[C];
        for (int j = 0; j < C; ++j) {
            v[j] = load(in + j * step_j);
        }
        for (int i = 0; i < R; ++i) {
            const T factor = a[i * n_in + k];
            for (int j = 0; j < C; ++j) {
                sums[i][j] += factor * v[j];
            }
        }
    }
    for (int i = 0; i < R; ++i) {
        for (int j = 0; j < C; ++j) {
            store(out + i * out_step_i + j * out_step_j, sums[i][j]);
        }
    }
}

template <class T, int R>
void mix_rows(const T* a, Index n_in, const T* in, Index step_k, Index step_j, Index n, T* out,
              Index out_step_i, Index out_step_j) {
    Index j = 0;
    for (; j + 2 <= n; j += 2) {
        mix_block<T, R, 2>(a, n_in, in + j * step_j, step_k, step_j, out + j * out_step_j,
                           out_step_i, out_step_j);
    }
    for (; j < n; ++j) {
        mix_block<T, R, 1>(a, n_in, in + j * step_j, step_k, step_j, out + j * out_step_j,
                           out_step_i, out_step_j);
    }
}

template <class T>
void mix(const T* a, Index n_out, Index n_in, const T* in, Index step_k, Index step_j, Index n,
         T* out, Index out_step_i, Index out_step_j) {
    Index i = 0;
    for (; i + 4 <= n_out; i += 4) {
        mix_rows<T, 4>(a + i * n_in, n_in, in, step_k, step_j, n, out + i * out_step_i, out_step_i,
                       out_step_j);
    }
    for (; i < n_out; ++i) {
        mix_rows<T, 1>(a + i * n_in, n_in, in, step_k, step_j, n, out + i * out_step_i, out_step_i,
                       out_step_j);
    }
}

}  // namespace
