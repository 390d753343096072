#include "core/fourier.hpp"

#include <cmath>

namespace kflow::detail {
namespace {

constexpr long double kTurn = 6.283185307179586476925286766559L;

// Fours first, because they cost least; then the primes of what is left.
std::vector<int> radices_of(Index n) {
    std::vector<int> out;
    for (; n % 4 == 0; n /= 4) {
        out.push_back(4);
    }
    for (int radix = 2; n > 1; ++radix) {
        for (; n % radix == 0; n /= radix) {
            out.push_back(radix);
        }
    }
    return out;
}

// exp(-2 pi i k / n)
template <class T>
void append_root(Index k, Index n, std::vector<T>& out) {
    const long double angle =
        -kTurn * static_cast<long double>(k % n) / static_cast<long double>(n);
    out.push_back(static_cast<T>(std::cos(angle)));
    out.push_back(static_cast<T>(std::sin(angle)));
}

}  // namespace

template <class T>
Fourier<T>::Fourier(Index n) : n_(n), radices_(radices_of(n)) {
    Index length = n;
    for (const int radix : radices_) {
        for (Index k = 0; k < radix; ++k) {
            append_root(k, radix, factors_);
        }
        for (Index p = 0; p < length / radix; ++p) {
            for (Index c = 1; c < radix; ++c) {
                append_root(p * c, length, factors_);
            }
        }
        length /= radix;
    }
}

template <class T>
FourierLine<T> Fourier<T>::line() const {
    return {n_, static_cast<int>(radices_.size()), radices_.data(), factors_.data()};
}

template class Fourier<float>;
template class Fourier<double>;

}  // namespace kflow::detail
