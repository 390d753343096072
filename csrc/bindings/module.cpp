#include <pybind11/pybind11.h>

namespace py = pybind11;

namespace kflow::python {
void bind_runtime(py::module_& m);
void bind_kernel(py::module_& m);
void bind_batch(py::module_& m);
void bind_expression(py::module_& m);
void bind_layer(py::module_& m);
void bind_loss(py::module_& m);
void bind_means(py::module_& m);
void bind_variance(py::module_& m);
void bind_scattering(py::module_& m);
}  // namespace kflow::python

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
    m.doc() = "The compiled core of kflow. Private: use the functions of the package instead.";
    kflow::python::bind_runtime(m);
    kflow::python::bind_kernel(m);
    kflow::python::bind_batch(m);
    kflow::python::bind_expression(m);
    kflow::python::bind_layer(m);
    kflow::python::bind_loss(m);
    kflow::python::bind_means(m);
    kflow::python::bind_variance(m);
    kflow::python::bind_scattering(m);
}
