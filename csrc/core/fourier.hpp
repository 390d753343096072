#pragma once

#include <vector>

#include "core/simd_table.hpp"

namespace kflow::detail {

/// The discrete Fourier transform of n numbers as a chain of small ones (Stockham's form of the
/// fast Fourier transform, which needs no reordering at its end).
template <class T>
class Fourier {
   public:
    explicit Fourier(Index n);

    FourierLine<T> line() const;

   private:
    Index n_;
    std::vector<int> radices_;
    std::vector<T> factors_;
};

}  // namespace kflow::detail
