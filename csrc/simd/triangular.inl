// Cholesky factors in panels. A symmetric positive definite A (n, n) lies in panels of its columns:
// panel p holds columns [p kPanel, (p + 1) kPanel) of all n rows, row after row. Its factor, A = U'
// U with U upper triangular, takes the same place; what is below U's diagonal is never read.
// Columns beyond the last are zero.
//
// Row r of U comes from row r of A by subtracting what the rows above it explain and dividing by
// the pivot. A band of rows is treated together: the subtraction is then a product with the band's
// sums in registers, of the same kind for a factorisation (right-hand side: A's own panels) and a
// solution (right-hand side: panels of b's columns).

namespace {

// Rows of a band: columns of U that lie side by side in one panel.
template <class T>
constexpr int kBand = kLanes<T> < 4 ? 4 : static_cast<int>(kLanes<T>);

// Where U[0, first], U[0, first + 1], ... start; the next row is kPanel further.
template <class T>
KFLOW_INLINE const T* columns_of(const T* u, Index n, Index first) {
    return u + first / kPanel<T> * n * kPanel<T> + first % kPanel<T>;
}

// Rows [first, first + rows) of rhs, those above being done. `own`: rhs is the panel of U that
// holds this band's diagonal, so that the pivots are yet to be found. False if one is not positive.
template <class T>
bool eliminate_band(const T* u, Index n, Index first, Index rows, T* rhs, bool own) {
    constexpr int B = kBand<T>;
    const T* a = columns_of(u, n, first);
    Vec<T> sums[B][2] = {};
    for (Index k = 0; k < first; ++k) {
        const Vec<T> b0 = load(rhs + k * kPanel<T>);
        const Vec<T> b1 = load(rhs + k * kPanel<T> + kLanes<T>);
        for (int r = 0; r < B; ++r) {
            const T factor = a[k * kPanel<T> + r];
            sums[r][0] += factor * b0;
            sums[r][1] += factor * b1;
        }
    }
    for (int r = 0; r < B; ++r) {
        if (r >= rows) {
            break;
        }
        T* row = rhs + (first + r) * kPanel<T>;
        Vec<T> t0 = load(row) - sums[r][0], t1 = load(row + kLanes<T>) - sums[r][1];
        for (int s = 0; s < r; ++s) {
            const T factor = a[(first + s) * kPanel<T> + r];
            t0 -= factor * sums[s][0];
            t1 -= factor * sums[s][1];
        }
        T pivot = a[(first + r) * kPanel<T> + r];
        if (own) {
            store(row, t0);
            store(row + kLanes<T>, t1);
            const T square = a[(first + r) * kPanel<T> + r];
            if (!(square > T(0))) {
                return false;
            }
            pivot = sqrt(splat(square))[0];
        }
        sums[r][0] = t0 / pivot;
        sums[r][1] = t1 / pivot;
        store(row, sums[r][0]);
        store(row + kLanes<T>, sums[r][1]);
    }
    return true;
}

template <class T>
bool eliminate(const T* u, Index n, Index begin, Index end, T* rhs, bool own) {
    for (Index first = begin; first < end; first += kBand<T>) {
        if (!eliminate_band(u, n, first, smaller(kBand<T>, end - first), rhs, own)) {
            return false;
        }
    }
    return true;
}

template <class T>
void back_substitute(const T* u, Index n, Index leading, T* rhs) {
    constexpr int B = kBand<T>;
    for (Index first = (leading - 1) / B * B; leading > 0 && first >= 0; first -= B) {
        const Index rows = smaller(B, leading - first);
        const T* a = columns_of(u, n, first);
        Vec<T> x[B][2] = {};
        for (int r = B - 1; r >= 0; --r) {
            if (r >= rows) {
                continue;
            }
            T* row = rhs + (first + r) * kPanel<T>;
            Vec<T> t0 = load(row), t1 = load(row + kLanes<T>);
            for (int s = r + 1; s < B; ++s) {
                const T factor = s < rows ? a[(first + r) * kPanel<T> + s] : T(0);
                t0 -= factor * x[s][0];
                t1 -= factor * x[s][1];
            }
            const T pivot = a[(first + r) * kPanel<T> + r];
            x[r][0] = t0 / pivot;
            x[r][1] = t1 / pivot;
            store(row, x[r][0]);
            store(row + kLanes<T>, x[r][1]);
        }
        for (Index k = 0; k < first; ++k) {
            T* row = rhs + k * kPanel<T>;
            Vec<T> t0 = load(row), t1 = load(row + kLanes<T>);
            for (int r = 0; r < B; ++r) {
                const T factor = a[k * kPanel<T> + r];
                t0 -= factor * x[r][0];
                t1 -= factor * x[r][1];
            }
            store(row, t0);
            store(row + kLanes<T>, t1);
        }
    }
}

}  // namespace
