#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "kflow/matrix_view.hpp"

namespace kflow {

/// A file is no model, or is damaged, or its model has what this reader does not know. The message
/// says which, and names it.
class ModelError : public std::runtime_error {
   public:
    using std::runtime_error::runtime_error;
};

/// A model that Python saved: a flow, a classifier or a regressor, with one of the radial kernels,
/// any scaling, a linear map, and a subspace with falling rank. The results are those of Python, to
/// the last bit, where both run at one SIMD level; probabilities are up to rounding errors.
/// Python's models of tables and of images, and Gaussian processes, are refused.
///
/// Of a file every byte is checked: ZIP's checksums, the SHA-256 of each block, sizes against what
/// is there before memory is taken, shapes against each other.
///
/// All members are const and may be called by several threads. Points (n, n_features) are float or
/// double; a row's result depends on that row alone. Where points have a value that is not finite,
/// or too large to be squared, or another shape, std::invalid_argument is thrown.
class Model {
   public:
    /// Throws ModelError, also if the file cannot be read.
    static Model read(const std::string& path);

    /// The model in the content of a file. `name` stands for the file in messages.
    static Model parse(std::vector<unsigned char> content, const std::string& name);

    /// "KernelFlow", "KernelFlowClassifier" or "KernelFlowRegressor".
    const std::string& kind() const;

    Index n_features() const;
    Index n_layers() const;

    /// Classes of a classifier, outputs of a regressor, 0 for a flow.
    Index n_outputs() const;

    /// The labels of a classifier's classes, as Python prints them, in their order; else empty.
    const std::vector<std::string>& labels() const;

    /// F_n(x) (n, n_features), which is `transform` in Python, in the precision of the flow. Throws
    /// ModelError if the flow runs in a subspace.
    template <class T>
    void transform(MatrixView<const T> x, MatrixView<double> out, int n_threads) const;

    /// out (n, n_outputs): a regressor's predictions in the units of y; or a classifier's values,
    /// of which the largest is that of the class predicted. Throws ModelError for a flow.
    template <class T>
    void predict(MatrixView<const T> x, MatrixView<double> out, int n_threads) const;

    /// The numbers of the classes of points; see labels(). Throws ModelError unless it is a
    /// classifier.
    template <class T>
    std::vector<Index> classify(MatrixView<const T> x, int n_threads) const;

    /// out (n, n_outputs): the probabilities of the classes. Throws ModelError unless it is a
    /// classifier.
    template <class T>
    void probabilities(MatrixView<const T> x, MatrixView<double> out, int n_threads) const;

   private:
    struct Content;
    explicit Model(std::shared_ptr<const Content> content);
    std::shared_ptr<const Content> content_;
};

}  // namespace kflow
