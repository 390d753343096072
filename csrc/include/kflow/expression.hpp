#pragma once

#include <vector>

#include "kflow/matrix_view.hpp"
#include "kflow/profile.hpp"

namespace kflow {

/// How the value of a term comes about, before its factor.
///   leaf      profile(t), t = |u - v|^2 or u.v for features u, v of two points
///   constant  1
///   given     an entry of a matrix that the caller supplies
///   sum       left + right
///   product   left * right
enum class Operation : int { leaf, constant, given, sum, product };

struct Term {
    Operation operation = Operation::constant;
    double factor = 1.0;
    Profile profile;              ///< of a leaf
    Index source = -1;            ///< which features a leaf reads, or which given matrix
    Index left = -1, right = -1;  ///< earlier terms of a sum or product
};

/// A kernel as a sequence of terms. Each term is used by at most one later term, and the value of
/// the last one is that of the kernel.
struct Expression {
    std::vector<Term> terms;
};

template <class T>
using Matrices = std::vector<MatrixView<const T>>;

/// out(i, j) = k(x_i, z_j): x and z hold the features (n, D) and (m, D) for each source, `given`
/// the matrices (n, m). `out` overlaps none of them. Results do not depend on n_threads. Cost 2 n m
/// D flops for each distinct pair of source and form (distance or product) and n m profiles for
/// each leaf.
template <class T>
void evaluate(const Expression& expression, const Matrices<T>& x, const Matrices<T>& z,
              const Matrices<T>& given, MatrixView<T> out, int n_threads);

/// out (n, q) = K(x, z) c, c (m, q), tile by tile: K never exists as a whole. `out` overlaps no
/// argument. Cost that of evaluate() and 2 n m q flops.
template <class T>
void apply(const Expression& expression, const Matrices<T>& x, const Matrices<T>& z,
           const Matrices<T>& given, MatrixView<const T> c, MatrixView<T> out, int n_threads);

/// Derivatives of a loss with respect to the numbers of each term.
struct ExpressionGradient {
    std::vector<double> factor;        ///< with respect to log factor
    std::vector<double> length_scale;  ///< of leaves, with respect to log length_scale
    std::vector<double> shape;         ///< of leaves, with respect to alpha
};

/// sum_ij g_ij dk(x_i, x_j) for symmetric g (n, n), with respect to all that k depends on: the
/// numbers of each term, the features of each source (n, D), where `features` has no null view, and
/// the given matrices. No matrix per parameter exists: everything happens in tiles.
/// Cost that of evaluate(), and 2 n^2 D flops for each source whose features are wanted; half of it
/// if no features are wanted and no matrices are given. Results do not depend on n_threads.
ExpressionGradient contract(const Expression& expression, const Matrices<double>& x,
                            const Matrices<double>& given, MatrixView<const double> g,
                            const std::vector<MatrixView<double>>& features,
                            const std::vector<MatrixView<double>>& given_gradients, int n_threads);

}  // namespace kflow
