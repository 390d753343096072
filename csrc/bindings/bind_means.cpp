#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "bindings/array.hpp"
#include "bindings/family.hpp"
#include "kflow/means.hpp"

namespace kflow::python {
namespace {

template <class T>
void bind(py::module_& m, const char* name) {
    using Means = PosteriorMeans<T>;
    py::class_<Means>(m, name)
        .def(py::init([](const std::vector<std::string>& families, const Array<T>& centres,
                         const Array<T>& rates, const Array<T>& coefficients,
                         const Array<T>& linear, const Array<T>& back, std::vector<T> offset) {
                 MeansParts<T> parts;
                 for (const std::string& one : families) {
                     parts.families.push_back(family_of(one));
                 }
                 const auto q = static_cast<Index>(families.size());
                 parts.centres = in(centres, "centres");
                 parts.rates = in(rates, "rates", q, parts.centres.cols);
                 parts.coefficients = in(coefficients, "coefficients", q, parts.centres.rows);
                 parts.linear = in(linear, "linear", q, parts.centres.cols);
                 parts.back = in(back, "back", q, static_cast<Index>(offset.size()));
                 parts.offset = std::move(offset);
                 return Means(parts);
             }),
             py::kw_only(), py::arg("families"), py::arg("centres").noconvert(),
             py::arg("rates").noconvert(), py::arg("coefficients").noconvert(),
             py::arg("linear").noconvert(), py::arg("back").noconvert(), py::arg("offset"))
        .def(
            "scores",
            [](const Means& self, const Array<T>& x, Array<T>& result, int n_threads) {
                const auto xs = in(x, "X", -1, self.n_dimensions());
                const auto view = out(result, "out", xs.rows, self.n_components());
                const py::gil_scoped_release unlocked;
                self.scores(xs, view, n_threads);
            },
            py::arg("X").noconvert(), py::arg("out").noconvert(), py::arg("n_threads"))
        .def(
            "outputs",
            [](const Means& self, const Array<T>& x, Array<T>& result, int n_threads) {
                const auto xs = in(x, "X", -1, self.n_dimensions());
                const auto view = out(result, "out", xs.rows, self.n_outputs());
                const py::gil_scoped_release unlocked;
                self.outputs(xs, view, n_threads);
            },
            py::arg("X").noconvert(), py::arg("out").noconvert(), py::arg("n_threads"))
        .def(
            "gradients",
            [](const Means& self, const Array<T>& x, Array<T>& result, int n_threads) {
                const auto xs = in(x, "X", -1, self.n_dimensions());
                const auto view =
                    out(result, "out", xs.rows, self.n_components() * self.n_dimensions());
                const py::gil_scoped_release unlocked;
                self.gradients(xs, view, n_threads);
            },
            py::arg("X").noconvert(), py::arg("out").noconvert(), py::arg("n_threads"));
}

}  // namespace

void bind_means(py::module_& m) {
    bind<float>(m, "MeansFloat");
    bind<double>(m, "MeansDouble");
}

}  // namespace kflow::python
