#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

namespace kflow {

/// The batch's kernel matrix plus nugget has no usable Cholesky factor.
/// `first` and `second` are the batch rows that coincide, or -1 when none do.
class NotPositiveDefinite : public std::runtime_error {
   public:
    NotPositiveDefinite(std::ptrdiff_t first_, std::ptrdiff_t second_)
        : std::runtime_error("the kernel matrix is not positive definite"),
          first(first_),
          second(second_) {}

    std::ptrdiff_t first;
    std::ptrdiff_t second;
};

/// Values are not finite, or one layer would move the points by far more than their size.
class Diverged : public std::runtime_error {
   public:
    using std::runtime_error::runtime_error;
};

}  // namespace kflow
