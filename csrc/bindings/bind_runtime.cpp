#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>

#include "bindings/kflow_python.h"
#include "kflow/runtime.hpp"

namespace py = pybind11;

namespace kflow::python {
namespace {

// A context manager; the thread that enters must be the one that leaves.
struct Lease {
    std::unique_ptr<TeamLease> lease;
};

}  // namespace

void bind_runtime(py::module_& m) {
    simd_level();  // a bad KFLOW_SIMD_LEVEL is reported here, at import

    m.attr("__version__") = kflow_get_api()->kflow_version();
    m.attr("C_API") = py::capsule(kflow_get_api(), KFLOW_CAPSULE);
    m.attr("compiler") = KFLOW_COMPILER;
    m.def("simd_level", &simd_level);
    m.def("simd_levels", &simd_levels);
    m.def("set_simd_level", &set_simd_level, py::arg("name"));
    m.def("parallel_backend", &parallel_backend);
    m.def("max_team_size", &max_team_size);
    m.def("team_threshold", &team_threshold);
    m.def("set_team_threshold", &set_team_threshold, py::arg("multiply_adds"));
    m.def("forked_after_team", &forked_after_team);
    py::class_<Lease>(m, "TeamLease")
        .def(py::init<>())
        .def("__enter__", [](Lease& self) { self.lease = std::make_unique<TeamLease>(); })
        .def("__exit__", [](Lease& self, const py::args&) { self.lease.reset(); });
}

}  // namespace kflow::python
