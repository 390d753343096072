// Points that move by kernel interpolation, in a module of pybind11.

#include <kflow_python.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <stdexcept>

namespace py = pybind11;

namespace {

using Array = py::array_t<double, py::array::c_style>;

const kflow_api* engine = nullptr;

// X + step K(X, Z) C, as kflow.move returns it.
Array move(const Array& x, const Array& z, const Array& c, const char* family, double length_scale,
           double step, int n_threads) {
    if (x.ndim() != 2 || z.ndim() != 2 || c.ndim() != 2 || z.shape(1) != x.shape(1) ||
        c.shape(0) != z.shape(0) || c.shape(1) != x.shape(1)) {
        throw std::invalid_argument("x, z and c must be (n, d), (m, d) and (m, d)");
    }
    Array out({x.shape(0), x.shape(1)});
    const kflow_profile profile{engine->family(family), 1, length_scale, 1.0};
    kflow_error error;
    int status = KFLOW_OK;
    {
        const py::gil_scoped_release unlocked;
        status = engine->apply_f64(&profile, x.data(), x.shape(0), x.shape(1), z.data(), z.shape(0),
                                   c.data(), c.shape(1), step, x.data(), out.mutable_data(),
                                   n_threads, &error);
    }
    if (status != KFLOW_OK) {
        throw std::invalid_argument(error.message);
    }
    return out;
}

}  // namespace

PYBIND11_MODULE(in_pybind11, m) {
    engine = kflow_import();
    if (engine == nullptr) {
        throw py::error_already_set();
    }
    m.def("move", &move, py::arg("x"), py::arg("z"), py::arg("c"), py::arg("family"),
          py::arg("length_scale"), py::arg("step"), py::arg("n_threads") = 1);
}
