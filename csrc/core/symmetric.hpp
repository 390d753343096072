#pragma once

// Products with symmetric matrices that somebody else owns, row by row.

#include <vector>

#include "kflow/matrix_view.hpp"

namespace kflow::detail {

/// out (columns, m) = A[rows, columns]' b for b (rows, m). Cost 2 m flops for each entry of the
/// block.
void multiply_block(MatrixView<const double> a, const std::vector<Index>& rows,
                    const std::vector<Index>& columns, MatrixView<const double> b,
                    MatrixView<double> out, int n_threads);

/// out (n, n) = left right', with out itself added to it if `add`, for factors (n, rank) whose
/// product is symmetric. The lower triangle is computed, and read, and copied to the upper one.
/// Cost n^2 rank flops.
void symmetric_product(MatrixView<const double> left, MatrixView<const double> right, bool add,
                       MatrixView<double> out, int n_threads);

}  // namespace kflow::detail
