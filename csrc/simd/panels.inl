// The operator x -> K(x, z) c on panels. A panel holds kPanel points side by side, coordinate after
// coordinate, so that every lane of a register belongs to a point: no dimension is ever rounded up
// to a register's length, and sums over centres need no reduction across lanes. The other factor of
// a product is read number by number, from groups of rows (core/row_groups.hpp).

namespace {

template <class T>
constexpr Index kPanel = 2 * kLanes<T>;

// As many rows as keep their two sums each in registers.
#if defined(__AVX512F__) || defined(__ARM_NEON)
constexpr int kGroup = 12;
#else
constexpr int kGroup = 6;
#endif

KFLOW_INLINE Index smaller(Index a, Index b) { return a < b ? a : b; }

template <class T>
void pack(MatrixView<const T> x, const T* shift, T* panels, T* norms) {
    const Index d = x.cols;
    for (Index first = 0; first < x.rows; first += kPanel<T>) {
        for (Index half = first; half < first + kPanel<T>; half += kLanes<T>) {
            T* out = panels + first * d + (half - first);
            Vec<T> norm = {};
            for (Index k = 0; k < d; k += kLanes<T>) {
                const Index columns = smaller(kLanes<T>, d - k);
                Vec<T> v[kLanes<T>];
                for (Index i = 0; i < kLanes<T>; ++i) {
                    if (half + i >= x.rows) {
                        v[i] = Vec<T>{};
                    } else if (columns == kLanes<T>) {
                        v[i] = load(x.row(half + i) + k);
                    } else {
                        v[i] = load_part(x.row(half + i) + k, columns);
                    }
                }
                transpose<T>(v);
                for (Index i = 0; i < columns; ++i) {
                    const Vec<T> centred = v[i] - shift[k + i];
                    norm += centred * centred;
                    store(out + (k + i) * kPanel<T>, centred);
                }
            }
            store(norms + half, norm);
        }
    }
}

template <class T>
void unpack(const T* panels, MatrixView<T> out) {
    const Index d = out.cols;
    for (Index first = 0; first < out.rows; first += kLanes<T>) {
        const Index rows = smaller(kLanes<T>, out.rows - first);
        const T* in = panels + first / kPanel<T> * kPanel<T> * d + first % kPanel<T>;
        for (Index k = 0; k < d; k += kLanes<T>) {
            const Index columns = smaller(kLanes<T>, d - k);
            Vec<T> v[kLanes<T>];
            for (Index i = 0; i < kLanes<T>; ++i) {
                v[i] = i < columns ? load(in + (k + i) * kPanel<T>) : Vec<T>{};
            }
            transpose<T>(v);
            for (Index i = 0; i < rows; ++i) {
                if (columns == kLanes<T>) {
                    store(out.row(first + i) + k, v[i]);
                } else {
                    store_part(out.row(first + i) + k, v[i], columns);
                }
            }
        }
    }
}

// out (R, kPanel) = a (R, inner) b (inner, kPanel), a as a group of rows.
template <class T, int R>
[[gnu::noinline]] void product_block(const T* a, const T* b, Index inner, T* out) {
    Vec<T> sums[R][2] = {};
    for (Index k = 0; k < inner; ++k) {
        const Vec<T> b0 = load(b + k * kPanel<T>);
        const Vec<T> b1 = load(b + k * kPanel<T> + kLanes<T>);
        for (int r = 0; r < R; ++r) {
            const T factor = a[k * R + r];
            sums[r][0] += factor * b0;
            sums[r][1] += factor * b1;
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
        store(out + r * kPanel<T>, sums[r][0]);
        store(out + r * kPanel<T> + kLanes<T>, sums[r][1]);
    }
}

// out (R, kPanel) = sum_k (z[r, k] - x[k, lane])^2
template <class T, int R>
[[gnu::noinline]] void difference_block(const T* z, const T* x, Index inner, T* out) {
    Vec<T> sums[R][2] = {};
    for (Index k = 0; k < inner; ++k) {
        const Vec<T> x0 = load(x + k * kPanel<T>);
        const Vec<T> x1 = load(x + k * kPanel<T> + kLanes<T>);
        for (int r = 0; r < R; ++r) {
            const T coordinate = z[k * R + r];
            const Vec<T> d0 = x0 - coordinate, d1 = x1 - coordinate;
            sums[r][0] += d0 * d0;
            sums[r][1] += d1 * d1;
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
        store(out + r * kPanel<T>, sums[r][0]);
        store(out + r * kPanel<T> + kLanes<T>, sums[r][1]);
    }
}

template <class T>
using Block = void (*)(const T* rows, const T* panel, Index inner, T* out);

template <class T, std::size_t... R>
KFLOW_INLINE Block<T> product_block_of(Index rows, std::index_sequence<R...>) {
    static constexpr Block<T> blocks[] = {product_block<T, R + 1>...};
    return blocks[rows - 1];
}

template <class T>
KFLOW_INLINE Block<T> product_block_of(Index rows) {
    return product_block_of<T>(rows, std::make_index_sequence<kGroup>());
}

template <class T, std::size_t... R>
KFLOW_INLINE Block<T> difference_block_of(Index rows, std::index_sequence<R...>) {
    static constexpr Block<T> blocks[] = {difference_block<T, R + 1>...};
    return blocks[rows - 1];
}

template <class T>
KFLOW_INLINE Block<T> difference_block_of(Index rows) {
    return difference_block_of<T>(rows, std::make_index_sequence<kGroup>());
}

template <class T>
void multiply_panels(const T* a, Index rows, Index inner, const T* panels, Index n_panels, T* out) {
    for_each_group(rows, kGroup, [=](Index first, Index n) {
        const auto block = product_block_of<T>(n);
        for (Index p = 0; p < n_panels; ++p) {
            block(a + first * inner, panels + p * inner * kPanel<T>, inner,
                  out + (p * rows + first) * kPanel<T>);
        }
    });
}

// Sums of squared differences in place of squared distances that cancellation has spoilt. What
// becomes of a point does not depend on its neighbours in the panel.
template <class T>
[[gnu::noinline]] void repair(const Centres<T>& z, Index first, Index rows, const T* x,
                              const T* x_norms, T* r2) {
    const auto limit = [&](Index r, Index lane) {
        const Vec<T> norm = load(x_norms + lane);
        return where_less(splat(z.careful_beyond), norm, (norm + z.norms[first + r]) * z.close,
                          Vec<T>{});
    };
    Vec<T> margin = splat(T(1));
    for (Index r = 0; r < rows; ++r) {
        for (Index lane = 0; lane < kPanel<T>; lane += kLanes<T>) {
            const Vec<T> here = load(r2 + r * kPanel<T> + lane);
            margin = where_less(here, limit(r, lane), splat(T(-1)), margin);
        }
    }
    bool spoilt = false;
    for (Index lane = 0; lane < kLanes<T>; ++lane) {
        spoilt = spoilt || margin[lane] < T(0);
    }
    if (!spoilt) {
        return;
    }
    T exact[kGroup * kPanel<T>];
    difference_block_of<T>(rows)(z.groups + first * z.d, x, z.d, exact);
    for (Index r = 0; r < rows; ++r) {
        for (Index lane = 0; lane < kPanel<T>; lane += kLanes<T>) {
            const Index at = r * kPanel<T> + lane;
            const Vec<T> here = load(r2 + at);
            store(r2 + at, where_less(here, limit(r, lane), load(exact + at), here));
        }
    }
}

struct SquaredDistance {
    template <class V>
    [[gnu::always_inline]] V value(const V& r2) const {
        return r2;
    }
};

template <class T, class Function>
void profile_panels(const Function& function, const Centres<T>& z, const T* panels, const T* norms,
                    Index n_panels, T* out) {
    bool careful = false;
    for (Index i = 0; !z.direct && i < n_panels * kPanel<T>; ++i) {
        careful = careful || norms[i] > z.careful_beyond;
    }
    for_each_group(z.n, kGroup, [&](Index first, Index rows) {
        const auto block = z.direct ? difference_block_of<T>(rows) : product_block_of<T>(rows);
        for (Index p = 0; p < n_panels; ++p) {
            const T* x = panels + p * z.d * kPanel<T>;
            T* k = out + (p * z.n + first) * kPanel<T>;
            block(z.groups + first * z.d, x, z.d, k);
            if (!z.direct) {
                const T* x_norms = norms + p * kPanel<T>;
                const auto x_norm = load_wide<2>(x_norms);
                const auto distances = [&](auto finish) {
                    for (Index r = 0; r < rows; ++r) {
                        T* row = k + r * kPanel<T>;
                        const auto s = load_wide<2>(row);
                        const auto r2 = (x_norm + z.norms[first + r]) - (s + s);
                        store_wide(row, finish(at_least(T(0), r2)));
                    }
                };
                if (!careful) {
                    distances([&](const auto& r2) { return function.value(r2); });
                    continue;
                }
                distances([](const auto& r2) { return r2; });
                repair(z, first, rows, x, x_norms, k);
            }
            for (Index r = 0; r < rows; ++r) {
                store_wide(k + r * kPanel<T>, function.value(load_wide<2>(k + r * kPanel<T>)));
            }
        }
    });
}

template <class T>
void kernel_panels(const Profile& profile, const Centres<T>& z, const T* panels, const T* norms,
                   Index n_panels, T* out) {
    with_profile<T>(
        profile, [&](auto function) { profile_panels(function, z, panels, norms, n_panels, out); });
}

template <class T>
void distance_panels(const Centres<T>& z, const T* panels, const T* norms, Index n_panels, T* out) {
    profile_panels(SquaredDistance(), z, panels, norms, n_panels, out);
}

// d = q = D: no tile is stored, everything stays in registers. Three centres at a
// time.
template <class T, int D, class Function>
void fused_panels(const Function& function, const T* centres, Index m, const T* panels,
                  Index n_panels, T* out) {
    for (Index p = 0; p < n_panels; ++p) {
        Wide<T, 2> x[D], sums[D] = {};
        for (int k = 0; k < D; ++k) {
            x[k] = load_wide<2>(panels + (p * D + k) * kPanel<T>);
        }
        const auto add = [&](auto count, const T* z) {
            constexpr int n = decltype(count)::value;
            Wide<T, 2 * n> r2 = {};
            for (int k = 0; k < D; ++k) {
                for (int i = 0; i < 2 * n; ++i) {
                    const Vec<T> difference = x[k].v[i % 2] - z[i / 2 * 2 * D + k];
                    r2.v[i] += difference * difference;
                }
            }
            const auto value = function.value(r2);
            for (int q = 0; q < D; ++q) {
                for (int i = 0; i < 2 * n; ++i) {
                    sums[q].v[i % 2] += z[i / 2 * 2 * D + D + q] * value.v[i];
                }
            }
        };
        // Sums of sums, whose rounding errors grow with the terms of one only.
        constexpr Index kTerms = 12;
        Wide<T, 2> totals[D] = {};
        for (Index first = 0; first < m; first += kTerms) {
            const Index last = smaller(first + kTerms, m);
            Index j = first;
            for (; j + 3 <= last; j += 3) {
                add(std::integral_constant<int, 3>(), centres + 2 * D * j);
            }
            for (; j < last; ++j) {
                add(std::integral_constant<int, 1>(), centres + 2 * D * j);
            }
            for (int q = 0; q < D; ++q) {
                totals[q] = totals[q] + sums[q];
                sums[q] = {};
            }
        }
        for (int q = 0; q < D; ++q) {
            store_wide(out + (p * D + q) * kPanel<T>, totals[q]);
        }
    }
}

template <class T>
void fused(const Profile& profile, const T* centres, Index m, Index d, const T* panels,
           Index n_panels, T* out) {
    with_profile<T>(profile, [=](auto function) {
        switch (d) {
            case 1:
                return fused_panels<T, 1>(function, centres, m, panels, n_panels, out);
            case 2:
                return fused_panels<T, 2>(function, centres, m, panels, n_panels, out);
            default:
                return fused_panels<T, 3>(function, centres, m, panels, n_panels, out);
        }
    });
}

}  // namespace
