#include <pybind11/stl.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bindings/array.hpp"
#include "kflow/expression.hpp"

namespace kflow::python {
namespace {

template <class T>
using Arrays = std::vector<Array<T>>;

void append(Expression& expression, const std::string& operation, double factor,
            const std::optional<Profile>& profile, Index source, Index left, Index right) {
    static const std::map<std::string, Operation> operations{
        {"leaf", Operation::leaf}, {"constant", Operation::constant}, {"given", Operation::given},
        {"sum", Operation::sum},   {"product", Operation::product},
    };
    const auto found = operations.find(operation);
    if (found == operations.end()) {
        throw std::invalid_argument("operation: unknown operation '" + operation + "'");
    }
    Term term;
    term.operation = found->second;
    term.factor = factor;
    term.source = source;
    term.left = left;
    term.right = right;
    const auto n = static_cast<Index>(expression.terms.size());
    if (term.operation == Operation::sum || term.operation == Operation::product) {
        if (left < 0 || left >= n || right < 0 || right >= n || left == right) {
            throw std::out_of_range("left and right must be two earlier terms");
        }
    }
    if (term.operation == Operation::leaf) {
        if (!profile) {
            throw std::invalid_argument("a leaf needs a profile");
        }
        term.profile = *profile;
    }
    expression.terms.push_back(term);
}

// Every source that a term reads must be there.
void check(const Expression& expression, std::size_t n_features, std::size_t n_given) {
    if (expression.terms.empty()) {
        throw std::invalid_argument("expression has no terms");
    }
    for (const Term& term : expression.terms) {
        const bool leaf = term.operation == Operation::leaf;
        if (leaf || term.operation == Operation::given) {
            const auto n = static_cast<Index>(leaf ? n_features : n_given);
            if (term.source < 0 || term.source >= n) {
                throw std::out_of_range("a term reads a source that is not there");
            }
        }
    }
}

template <class T>
Matrices<T> views(const Arrays<T>& arrays, const char* name, Index rows, Index cols = -1) {
    Matrices<T> result;
    for (const Array<T>& array : arrays) {
        result.push_back(in(array, name, rows, cols));
    }
    return result;
}

template <class T>
void same_columns(const Matrices<T>& x, const Matrices<T>& z) {
    bool same = x.size() == z.size();
    for (std::size_t i = 0; same && i < x.size(); ++i) {
        same = x[i].cols == z[i].cols;
    }
    if (!same) {
        throw std::invalid_argument("X and Z must have the same features");
    }
}

template <class T>
void bind_precision(py::module_& m) {
    m.def(
        "evaluate",
        [](const Expression& expression, const Arrays<T>& x, const Arrays<T>& z,
           const Arrays<T>& given, Array<T> result, int n_threads) {
            const auto view = out(result, "out", result.shape(0), result.shape(1));
            const auto xs = views(x, "X", view.rows), zs = views(z, "Z", view.cols);
            const auto givens = views(given, "given", view.rows, view.cols);
            same_columns(xs, zs);
            check(expression, xs.size(), givens.size());
            const py::gil_scoped_release unlocked;
            evaluate<T>(expression, xs, zs, givens, view, n_threads);
        },
        py::arg("expression"), py::arg("X").noconvert(), py::arg("Z").noconvert(),
        py::arg("given").noconvert(), py::arg("out").noconvert(), py::arg("n_threads"));

    m.def(
        "apply_expression",
        [](const Expression& expression, const Arrays<T>& x, const Arrays<T>& z,
           const Arrays<T>& given, const Array<T>& c, Array<T> result, int n_threads) {
            const auto cs = in(c, "C");
            const auto view = out(result, "out", result.shape(0), cs.cols);
            const auto xs = views(x, "X", view.rows), zs = views(z, "Z", cs.rows);
            const auto givens = views(given, "given", view.rows, cs.rows);
            same_columns(xs, zs);
            check(expression, xs.size(), givens.size());
            const py::gil_scoped_release unlocked;
            apply<T>(expression, xs, zs, givens, cs, view, n_threads);
        },
        py::arg("expression"), py::arg("X").noconvert(), py::arg("Z").noconvert(),
        py::arg("given").noconvert(), py::arg("C").noconvert(), py::arg("out").noconvert(),
        py::arg("n_threads"));
}

py::tuple contract_arrays(const Expression& expression, const Arrays<double>& x,
                          const Arrays<double>& given, const Array<double>& g,
                          std::vector<std::optional<Array<double>>> features,
                          Arrays<double> given_gradients, int n_threads) {
    const auto gs = in(g, "G", g.ndim() == 2 ? g.shape(1) : -1);
    const auto xs = views(x, "X", gs.rows);
    const auto givens = views(given, "given", gs.rows, gs.rows);
    check(expression, xs.size(), givens.size());
    if (features.size() != xs.size() || given_gradients.size() != givens.size()) {
        throw std::invalid_argument("features and given_gradients must match X and given");
    }
    std::vector<MatrixView<double>> feature_views, given_views;
    for (std::size_t i = 0; i < xs.size(); ++i) {
        feature_views.push_back(features[i] ? out(*features[i], "features", xs[i].rows, xs[i].cols)
                                            : MatrixView<double>());
    }
    for (Array<double>& array : given_gradients) {
        given_views.push_back(out(array, "given_gradients", gs.rows, gs.rows));
    }
    ExpressionGradient gradient;
    {
        const py::gil_scoped_release unlocked;
        gradient = contract(expression, xs, givens, gs, feature_views, given_views, n_threads);
    }
    const auto array = [](const std::vector<double>& values) {
        return py::array_t<double>(static_cast<Index>(values.size()), values.data());
    };
    return py::make_tuple(array(gradient.factor), array(gradient.length_scale),
                          array(gradient.shape));
}

}  // namespace

void bind_expression(py::module_& m) {
    py::class_<Expression>(m, "Expression", "A kernel as terms that build on each other.")
        .def(py::init<>())
        .def("append", &append, py::arg("operation"), py::arg("factor") = 1.0,
             py::arg("profile") = py::none(), py::arg("source") = -1, py::arg("left") = -1,
             py::arg("right") = -1);
    bind_precision<float>(m);
    bind_precision<double>(m);
    m.def("contract", &contract_arrays, py::arg("expression"), py::arg("X").noconvert(),
          py::arg("given").noconvert(), py::arg("G").noconvert(), py::arg("features").noconvert(),
          py::arg("given_gradients").noconvert(), py::arg("n_threads"));
}

}  // namespace kflow::python
