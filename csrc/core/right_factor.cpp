#include "core/right_factor.hpp"

#include "core/linalg.hpp"
#include "core/simd_table.hpp"
#include "kflow/blas.hpp"

namespace kflow::detail {

template <class T>
void RightFactor<T>::set(MatrixView<const T> source, bool transposed) {
    source_ = source;
    transposed_ = transposed;
    packed_ = simd().own_gemm_is_faster || !blas().complete();
    if (!packed_) {
        return;
    }
    const Index inner = transposed ? source.cols : source.rows;
    const Index cols = transposed ? source.rows : source.cols;
    panels_.resize(static_cast<std::size_t>(inner * padded(cols)));
    for (Index first = 0; first < cols; first += kPadding) {
        T* panel = panels_.data() + first * inner;
        for (Index k = 0; k < inner; ++k) {
            for (Index j = 0; j < kPadding; ++j) {
                panel[k * kPadding + j] = first + j >= cols ? T(0)
                                          : transposed      ? source(first + j, k)
                                                            : source(k, first + j);
            }
        }
    }
}

template <class T>
void RightFactor<T>::multiply(MatrixView<const T> a, MatrixView<T> c, Index first) const {
    if (packed_) {
        simd().get<T>().gemm(a, panels_.data() + first * a.cols, c);
    } else if (transposed_) {
        blas_gemm<T>(true, a, {source_.row(first), c.cols, a.cols, source_.stride}, c);
    } else {
        blas_gemm<T>(false, a, {source_.data + first, a.cols, c.cols, source_.stride}, c);
    }
}

template class RightFactor<float>;
template class RightFactor<double>;

}  // namespace kflow::detail
