// Sums over centres for one point at a time. A register's lanes belong to centres, so that a single
// point is as fast as one of many; and the squares of coordinates' differences serve all
// components, each of which weighs them by its own rates.

namespace {

// Centres in the four registers whose sum is added at once, to another one, which later is summed
// across its lanes.
template <class T>
constexpr Index kSide = 4 * kLanes<T>;

static_assert(kCentreBlock % kSide<float> == 0 && kCentreBlock % kSide<double> == 0);

template <class T>
KFLOW_INLINE Wide<T, 4> weighted_squares(const T* rates, const T* squares, Index d) {
    Wide<T, 4> r2 = {};
    for (Index k = 0; k < d; ++k, squares += kSide<T>) {
        for (int i = 0; i < 4; ++i) {
            r2.v[i] += rates[k] * load(squares + i * kLanes<T>);
        }
    }
    return r2;
}

template <class T>
KFLOW_INLINE Vec<T> sum_of_products(const T* a, const Wide<T, 4>& b) {
    const Wide<T, 4> products = load_wide<4>(a) * b;
    return (products.v[0] + products.v[1]) + (products.v[2] + products.v[3]);
}

// Calls body(function, c) for each component, with its profile; neighbours of one family share a
// choice.
template <class T, class Body>
KFLOW_INLINE void for_each_profile(const Profile* profiles, Index q, Body&& body) {
    for (Index c = 0; c < q;) {
        Index last = c + 1;
        while (last < q && profiles[last].family == profiles[c].family) {
            ++last;
        }
        with_profile<T>(profiles[c], [&](auto function) {
            for (; c < last; ++c) {
                body(function, c);
            }
        });
    }
}

// differences (d, kSide) = x - z, and their squares
template <class T>
KFLOW_INLINE void differences_of(const T* x, const T* centres, Index d, T* differences,
                                 T* squares) {
    for (Index k = 0; k < d; ++k) {
        for (Index i = k * kSide<T>; i < (k + 1) * kSide<T>; i += kLanes<T>) {
            const Vec<T> difference = x[k] - load(centres + k * kCentreBlock + (i - k * kSide<T>));
            store(squares + i, difference * difference);
            if (differences != nullptr) {
                store(differences + i, difference);
            }
        }
    }
}

template <class T>
void mean_values(const MeanTerms<T>& terms, MatrixView<const T> x, T* scratch, MatrixView<T> out) {
    const Index d = x.cols, q = out.cols;
    T* squares = scratch;
    T* sums = squares + d * kSide<T>;
    for (Index i = 0; i < x.rows * q; ++i) {
        store(sums + i * kLanes<T>, Vec<T>{});
    }
    for (Index b = 0; b < terms.n_blocks; ++b) {
        const T* centres = terms.centres + b * d * kCentreBlock;
        const T* coefficients = terms.coefficients + b * q * kCentreBlock;
        for (Index side = 0; side < kCentreBlock; side += kSide<T>) {
            for (Index r = 0; r < x.rows; ++r) {
                differences_of<T>(x.row(r), centres + side, d, nullptr, squares);
                T* mine = sums + r * q * kLanes<T>;
                for_each_profile<T>(terms.profiles, q, [&](const auto& function, Index c) {
                    const auto value =
                        function.value(weighted_squares(terms.rates + c * d, squares, d));
                    const Vec<T> sum =
                        sum_of_products(coefficients + c * kCentreBlock + side, value);
                    store(mine + c * kLanes<T>, load(mine + c * kLanes<T>) + sum);
                });
            }
        }
    }
    for (Index r = 0; r < x.rows; ++r) {
        for (Index c = 0; c < q; ++c) {
            out(r, c) = horizontal_sum<T>(load(sums + (r * q + c) * kLanes<T>));
        }
    }
}

template <class T>
void mean_gradients(const MeanTerms<T>& terms, MatrixView<const T> x, T* scratch,
                    MatrixView<T> out) {
    const Index d = x.cols, q = d > 0 ? out.cols / d : 0;
    T* squares = scratch;
    T* differences = squares + d * kSide<T>;
    T* sums = differences + d * kSide<T>;
    for (Index i = 0; i < x.rows * q * d; ++i) {
        store(sums + i * kLanes<T>, Vec<T>{});
    }
    for (Index b = 0; b < terms.n_blocks; ++b) {
        const T* centres = terms.centres + b * d * kCentreBlock;
        const T* coefficients = terms.coefficients + b * q * kCentreBlock;
        for (Index side = 0; side < kCentreBlock; side += kSide<T>) {
            for (Index r = 0; r < x.rows; ++r) {
                differences_of<T>(x.row(r), centres + side, d, differences, squares);
                T* mine = sums + r * q * d * kLanes<T>;
                for_each_profile<T>(terms.profiles, q, [&](const auto& function, Index c) {
                    const Wide<T, 4> r2 = weighted_squares(terms.rates + c * d, squares, d);
                    Wide<T, 4> slope = load_wide<4>(coefficients + c * kCentreBlock + side);
                    for (int i = 0; i < 4; ++i) {
                        slope.v[i] *= function.both(r2.v[i]).slope;
                    }
                    for (Index k = 0; k < d; ++k) {
                        T* sum = mine + (c * d + k) * kLanes<T>;
                        store(sum, load(sum) + sum_of_products(differences + k * kSide<T>, slope));
                    }
                });
            }
        }
    }
    for (Index r = 0; r < x.rows; ++r) {
        for (Index i = 0; i < q * d; ++i) {
            out(r, i) =
                T(2) * terms.rates[i] * horizontal_sum<T>(load(sums + (r * q * d + i) * kLanes<T>));
        }
    }
}

}  // namespace
