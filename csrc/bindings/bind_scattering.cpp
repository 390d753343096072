#include <pybind11/stl.h>

#include <utility>

#include "bindings/array.hpp"
#include "kflow/scattering.hpp"

namespace kflow::python {
namespace {

template <class T>
void bind(py::module_& m, const char* name) {
    using Filters = ScatteringFilters<T>;
    using Lists = std::vector<std::vector<T>>;
    py::class_<Scattering<T>>(m, name)
        .def(py::init([](std::pair<Index, Index> image, std::vector<Index> row_of,
                         std::vector<Index> col_of, Index n_scales, Index n_angles, Index max_order,
                         std::pair<Index, Index> out, Lists waves, Lists smooth_rows,
                         Lists smooth_cols) {
                 const auto rows = static_cast<Index>(row_of.size());
                 const auto cols = static_cast<Index>(col_of.size());
                 return Scattering<T>(Filters{
                     image.first, image.second, rows, cols, std::move(row_of), std::move(col_of),
                     n_scales, n_angles, max_order, out.first, out.second, std::move(waves),
                     std::move(smooth_rows), std::move(smooth_cols)});
             }),
             py::kw_only(), py::arg("image"), py::arg("row_of"), py::arg("col_of"),
             py::arg("n_scales"), py::arg("n_angles"), py::arg("max_order"), py::arg("out"),
             py::arg("waves"), py::arg("smooth_rows"), py::arg("smooth_cols"))
        .def(
            "transform",
            [](const Scattering<T>& self, const Array<T>& images, Array<T>& features,
               int n_threads) {
                const Filters& f = self.filters();
                const auto x = in(images, "images", -1, f.height * f.width);
                const auto y =
                    out(features, "out", x.rows, self.n_channels() * f.out_height * f.out_width);
                const py::gil_scoped_release unlocked;
                self.transform(x, y, n_threads);
            },
            py::arg("images").noconvert(), py::arg("out").noconvert(), py::arg("n_threads"))
        .def(
            "pull_back",
            [](const Scattering<T>& self, const Array<T>& images, const Array<T>& covectors,
               Array<T>& gradients, int n_threads) {
                const Filters& f = self.filters();
                const auto x = in(images, "images", -1, f.height * f.width);
                const auto a = in(covectors, "covectors", x.rows,
                                  self.n_channels() * f.out_height * f.out_width);
                const auto g = out(gradients, "out", x.rows, x.cols);
                const py::gil_scoped_release unlocked;
                self.pull_back(x, a, g, n_threads);
            },
            py::arg("images").noconvert(), py::arg("covectors").noconvert(),
            py::arg("out").noconvert(), py::arg("n_threads"));
}

}  // namespace

void bind_scattering(py::module_& m) {
    bind<float>(m, "ScatteringFloat");
    bind<double>(m, "ScatteringDouble");
}

}  // namespace kflow::python
