#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "kflow/matrix_view.hpp"

namespace kflow::test {

/// Owns its elements, without slack, so that a sanitizer sees every overrun.
template <class T>
class Matrix {
   public:
    Matrix() = default;
    Matrix(Index rows, Index cols, T value = T(0))
        : rows_(rows), cols_(cols), elements_(static_cast<std::size_t>(rows * cols), value) {}

    Index rows() const { return rows_; }
    Index cols() const { return cols_; }
    T* data() { return elements_.data(); }
    T& operator()(Index i, Index j) { return elements_[static_cast<std::size_t>(i * cols_ + j)]; }
    T operator()(Index i, Index j) const {
        return elements_[static_cast<std::size_t>(i * cols_ + j)];
    }

    MatrixView<T> view() { return {elements_.data(), rows_, cols_}; }
    MatrixView<const T> view() const { return {elements_.data(), rows_, cols_}; }

    bool operator==(const Matrix& other) const {
        return rows_ == other.rows_ && cols_ == other.cols_ && elements_ == other.elements_;
    }

   private:
    Index rows_ = 0, cols_ = 0;
    std::vector<T> elements_;
};

/// Standard normal numbers by Marsaglia's polar method, the same with every C++ library: those of
/// std::normal_distribution are not.
class Normal {
   public:
    explicit Normal(unsigned seed) : engine_(seed) {}

    double operator()() {
        if (has_other_) {
            has_other_ = false;
            return other_;
        }
        double x, y, square;
        do {
            x = 2.0 * uniform() - 1.0;
            y = 2.0 * uniform() - 1.0;
            square = x * x + y * y;
        } while (square > 1.0 || square == 0.0);
        const double factor = std::sqrt(-2.0 * std::log(square) / square);
        other_ = x * factor;
        has_other_ = true;
        return y * factor;
    }

   private:
    double uniform() { return std::ldexp(static_cast<double>(engine_()), -64); }

    std::mt19937_64 engine_;
    double other_ = 0.0;
    bool has_other_ = false;
};

/// Standard normal entries around `centre`.
template <class T>
Matrix<T> random_matrix(Index rows, Index cols, unsigned seed, double centre = 0.0) {
    Normal normal(seed);
    Matrix<T> out(rows, cols);
    for (Index i = 0; i < rows; ++i) {
        for (Index j = 0; j < cols; ++j) {
            out(i, j) = static_cast<T>(centre + normal());
        }
    }
    return out;
}

template <class To, class From>
Matrix<To> cast(const Matrix<From>& a) {
    Matrix<To> out(a.rows(), a.cols());
    for (Index i = 0; i < a.rows(); ++i) {
        for (Index j = 0; j < a.cols(); ++j) {
            out(i, j) = static_cast<To>(a(i, j));
        }
    }
    return out;
}

template <class T>
long double largest(const Matrix<T>& a) {
    long double out = 0;
    for (Index i = 0; i < a.rows(); ++i) {
        for (Index j = 0; j < a.cols(); ++j) {
            out = std::max(out, std::fabs(static_cast<long double>(a(i, j))));
        }
    }
    return out;
}

/// The largest |a_ij - b_ij|; infinite for NaN and for shapes that differ.
template <class A, class B>
long double distance(const Matrix<A>& a, const Matrix<B>& b) {
    if (a.rows() != b.rows() || a.cols() != b.cols()) {
        return HUGE_VALL;
    }
    long double out = 0;
    for (Index i = 0; i < a.rows(); ++i) {
        for (Index j = 0; j < a.cols(); ++j) {
            const long double difference =
                std::fabs(static_cast<long double>(a(i, j)) - static_cast<long double>(b(i, j)));
            out = difference <= out ? out : std::isnan(difference) ? HUGE_VALL : difference;
        }
    }
    return out;
}

}  // namespace kflow::test
