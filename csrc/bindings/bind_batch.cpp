#include <pybind11/stl.h>

#include <algorithm>
#include <optional>

#include "bindings/array.hpp"
#include "kflow/batch.hpp"
#include "kflow/error.hpp"

namespace kflow::python {
namespace {

double rho_of(const Array<double>& x, const Array<double>& y, const Array<Index>& order,
              Index n_coarse, const Profile& profile, double nugget,
              std::optional<Array<double>> gradient, int n_threads) {
    const auto xs = in(x, "X");
    const auto ys = in(y, "Y", xs.rows);
    if (order.ndim() != 1 || order.shape(0) != xs.rows || n_coarse < 0 || n_coarse > xs.rows) {
        refuse("order", "(" + std::to_string(xs.rows) + ",)");
    }
    const Index* rows = order.data();
    if (std::any_of(rows, rows + xs.rows, [&](Index i) { return i < 0 || i >= xs.rows; })) {
        throw std::out_of_range("order holds a row that X does not have");
    }
    MatrixView<double> result;
    if (gradient) {
        result = out(*gradient, "gradient", xs.rows, xs.cols);
    }
    const py::gil_scoped_release unlocked;
    return rho(xs, ys, rows, n_coarse, profile, nugget, result, n_threads);
}

}  // namespace

void bind_batch(py::module_& m) {
    static py::exception<NotPositiveDefinite> not_positive_definite(m, "NotPositiveDefinite");
    static py::exception<Diverged> diverged(m, "Diverged");
    py::register_exception_translator([](std::exception_ptr error) {
        try {
            std::rethrow_exception(error);
        } catch (const NotPositiveDefinite& e) {
            py::set_error(not_positive_definite, py::make_tuple(e.first, e.second));
        } catch (const Diverged& e) {
            py::set_error(diverged, e.what());
        }
    });

    py::class_<Batch>(m, "Batch", "Memory that the layers of one flow reuse.").def(py::init<>());
    m.def("rho", &rho_of, py::arg("X").noconvert(), py::arg("Y").noconvert(),
          py::arg("order").noconvert(), py::arg("n_coarse"), py::arg("profile"), py::arg("nugget"),
          py::arg("gradient").noconvert(), py::arg("n_threads"));
}

}  // namespace kflow::python
