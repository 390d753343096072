#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "bindings/array.hpp"
#include "bindings/family.hpp"
#include "kflow/variance.hpp"

namespace kflow::python {

void bind_variance(py::module_& m) {
    py::class_<PosteriorVariance>(m, "PosteriorVariance")
        .def(py::init([](const std::string& family, const Array<double>& centres,
                         const Array<double>& rates, double amplitude, double linear, double nugget,
                         double scale, const Array<double>& factor,
                         const std::optional<Array<double>>& inner) {
                 VarianceParts parts;
                 parts.family = family_of(family);
                 parts.centres = in(centres, "centres");
                 const Index n = parts.centres.rows;
                 parts.rates = in(rates, "rates", 1, parts.centres.cols);
                 parts.amplitude = amplitude;
                 parts.linear = linear;
                 parts.nugget = nugget;
                 parts.scale = scale;
                 parts.factor = in(factor, "factor", n, n);
                 if (inner) {
                     parts.inner = in(*inner, "inner", n, n);
                 }
                 const py::gil_scoped_release unlocked;
                 return PosteriorVariance(parts);
             }),
             py::kw_only(), py::arg("family"), py::arg("centres").noconvert(),
             py::arg("rates").noconvert(), py::arg("amplitude"), py::arg("linear"),
             py::arg("nugget"), py::arg("scale"), py::arg("factor").noconvert(),
             py::arg("inner").noconvert().none(true))
        .def(
            "__call__",
            [](const PosteriorVariance& self, const Array<double>& x, Array<double>& result,
               int n_threads) {
                const auto xs = in(x, "X", -1, self.n_dimensions());
                const auto view = out(result, "out", xs.rows, 1);
                const py::gil_scoped_release unlocked;
                self(xs, view, n_threads);
            },
            py::arg("X").noconvert(), py::arg("out").noconvert(), py::arg("n_threads"));
}

}  // namespace kflow::python
