#include "core/linalg.hpp"

#include <algorithm>
#include <cmath>

#include "core/simd_table.hpp"
#include "kflow/blas.hpp"

namespace kflow {
namespace {

BlasTable& installed() {
    static BlasTable table;
    return table;
}

}  // namespace

void set_blas(const BlasTable& table) { installed() = table.complete() ? table : BlasTable{}; }
const BlasTable& blas() { return installed(); }

namespace detail {
namespace {

char kNo = 'N';
char kYes = 'T';
char kRight = 'R';
char kUpper = 'U';

void gemm_call(char* ta, char* tb, int* m, int* n, int* k, float* alpha, float* a, int* lda,
               float* b, int* ldb, float* beta, float* c, int* ldc) {
    blas().sgemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
void gemm_call(char* ta, char* tb, int* m, int* n, int* k, double* alpha, double* a, int* lda,
               double* b, int* ldb, double* beta, double* c, int* ldc) {
    blas().dgemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

// BLAS refuses a leading dimension of 0, which an empty matrix has.
int leading(Index stride) { return static_cast<int>(std::max<Index>(stride, 1)); }

}  // namespace

// A row-major matrix is the transpose of a column-major one: c = a b becomes c' = b' a'.
template <class T>
void blas_gemm(bool b_transposed, MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c) {
    int m = static_cast<int>(c.cols), n = static_cast<int>(c.rows), k = static_cast<int>(a.cols);
    int lda = leading(b.stride), ldb = leading(a.stride), ldc = leading(c.stride);
    T one = 1, zero = 0;
    gemm_call(b_transposed ? &kYes : &kNo, &kNo, &m, &n, &k, &one, const_cast<T*>(b.data), &lda,
              const_cast<T*>(a.data), &ldb, &zero, c.data, &ldc);
}

template void blas_gemm(bool, MatrixView<const float>, MatrixView<const float>, MatrixView<float>);
template void blas_gemm(bool, MatrixView<const double>, MatrixView<const double>,
                        MatrixView<double>);

bool cholesky(MatrixView<double> a) {
    if (blas().complete()) {
        int n = static_cast<int>(a.rows), lda = leading(a.stride), info = 0;
        blas().dpotrf(&kUpper, &n, a.data, &lda, &info);
        return info == 0;
    }
    const auto dot = simd().f64.dot;
    for (Index i = 0; i < a.rows; ++i) {
        for (Index j = 0; j < i; ++j) {
            a(i, j) = (a(i, j) - dot(a.row(i), a.row(j), j)) / a(j, j);
        }
        const double pivot = a(i, i) - dot(a.row(i), a.row(i), i);
        if (!(pivot > 0.0)) {
            return false;
        }
        a(i, i) = std::sqrt(pivot);
    }
    return true;
}

namespace {

void blas_trsm(char* transpose, MatrixView<const double> l, MatrixView<double> b) {
    int m = static_cast<int>(b.cols), n = static_cast<int>(b.rows);
    int lda = leading(l.stride), ldb = leading(b.stride);
    double one = 1.0;
    blas().dtrsm(&kRight, &kUpper, transpose, &kNo, &m, &n, &one, const_cast<double*>(l.data), &lda,
                 b.data, &ldb);
}

}  // namespace

void solve_lower(MatrixView<const double> l, MatrixView<double> b) {
    if (b.cols == 0) {
        return;
    }
    if (blas().complete()) {
        blas_trsm(&kNo, l, b);
        return;
    }
    const auto add_scaled = simd().f64.add_scaled;
    for (Index i = 0; i < b.rows; ++i) {
        for (Index j = 0; j < i; ++j) {
            add_scaled(b.row(i), b.row(j), -l(i, j), b.row(i), b.cols);
        }
        for (Index q = 0; q < b.cols; ++q) {
            b(i, q) /= l(i, i);
        }
    }
}

void solve_lower_transposed(MatrixView<const double> l, MatrixView<double> b) {
    if (b.cols == 0) {
        return;
    }
    if (blas().complete()) {
        blas_trsm(&kYes, l, b);
        return;
    }
    const auto add_scaled = simd().f64.add_scaled;
    for (Index i = b.rows - 1; i >= 0; --i) {
        for (Index q = 0; q < b.cols; ++q) {
            b(i, q) /= l(i, i);
        }
        for (Index j = 0; j < i; ++j) {
            add_scaled(b.row(j), b.row(i), -l(i, j), b.row(j), b.cols);
        }
    }
}

}  // namespace detail
}  // namespace kflow
