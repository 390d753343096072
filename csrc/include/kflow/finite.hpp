#pragma once

#include "kflow/matrix_view.hpp"

namespace kflow {

/// True if none of n numbers is NaN or infinite. One pass through memory.
template <class T>
bool all_finite(const T* x, Index n, T factor, int n_threads);

}  // namespace kflow
