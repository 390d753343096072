#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "bindings/array.hpp"
#include "kflow/apply.hpp"
#include "kflow/derivative.hpp"
#include "kflow/finite.hpp"
#include "kflow/gram.hpp"
#include "kflow/product.hpp"
#include "kflow/profile.hpp"

namespace kflow::python {
namespace {

Profile make_profile(const std::string& name, double length_scale, double alpha, int degree) {
    for (const FamilyTraits& family : kFamilies) {
        if (family.name == name) {
            return {family.family, length_scale, alpha, degree};
        }
    }
    throw std::invalid_argument("family: unknown kernel family '" + name + "'");
}

template <class T>
void bind_precision(py::module_& m) {
    m.def(
        "all_finite",
        [](const Array<T>& x, double factor, int n_threads) {
            const T* data = x.data();
            const Index n = x.size();
            const py::gil_scoped_release unlocked;
            return all_finite<T>(data, n, static_cast<T>(factor), n_threads);
        },
        "whether every number times the factor is finite", py::arg("X").noconvert(),
        py::arg("factor"), py::arg("n_threads"));

    m.def(
        "evaluate_profile",
        [](Array<T>& r2, const Profile& profile, int repeats) {
            T* data = r2.mutable_data();
            const Index n = r2.size();
            const py::gil_scoped_release unlocked;
            for (int i = 0; i < repeats; ++i) {
                evaluate_profile<T>(profile, data, n);
            }
        },
        "r2 <- k(r2) in place, on one thread; repeated for benchmarks", py::arg("r2").noconvert(),
        py::arg("profile"), py::arg("repeats") = 1);

    m.def(
        "gram",
        [](const Array<T>& x, const Array<T>& z, const Profile& profile, Array<T> result,
           int n_threads) {
            const auto xs = in(x, "X");
            const auto zs = in(z, "Z", -1, xs.cols);
            const auto view = out(result, "out", xs.rows, zs.rows);
            const py::gil_scoped_release unlocked;
            gram<T>(xs, zs, profile, view, n_threads);
        },
        py::arg("X").noconvert(), py::arg("Z").noconvert(), py::arg("profile"),
        py::arg("out").noconvert(), py::arg("n_threads"));

    m.def(
        "apply",
        [](const Array<T>& x, const Array<T>& z, const Array<T>& c, const Profile& profile,
           double step, const std::optional<Array<T>>& base, Array<T> result, int n_threads) {
            const auto xs = in(x, "X");
            const auto zs = in(z, "Z", -1, xs.cols);
            const auto cs = in(c, "C", zs.rows);
            const auto view = out(result, "out", xs.rows, cs.cols);
            MatrixView<const T> bases;
            if (base) {
                bases = in(*base, "base", xs.rows, cs.cols);
            }
            const py::gil_scoped_release unlocked;
            apply<T>(xs, zs, cs, profile, step, bases, view, n_threads);
        },
        py::arg("X").noconvert(), py::arg("Z").noconvert(), py::arg("C").noconvert(),
        py::arg("profile"), py::arg("step"), py::arg("base").noconvert(),
        py::arg("out").noconvert(), py::arg("n_threads"));

    m.def(
        "product",
        [](const Array<T>& x, const Array<T>& a, Array<T> result, int n_threads) {
            const auto xs = in(x, "X");
            const auto as = in(a, "A", xs.cols);
            const auto view = out(result, "out", xs.rows, as.cols);
            const py::gil_scoped_release unlocked;
            product<T>(xs, as, view, n_threads);
        },
        "out = X A, each row from its row of X alone", py::arg("X").noconvert(),
        py::arg("A").noconvert(), py::arg("out").noconvert(), py::arg("n_threads"));

    m.def(
        "pull_back",
        [](const Array<T>& x, const Array<T>& z, const Array<T>& c, const Profile& profile,
           const Array<T>& a, Array<T> result, int n_threads) {
            const auto xs = in(x, "X");
            const auto zs = in(z, "Z", -1, xs.cols);
            const auto cs = in(c, "C", zs.rows);
            const auto as = in(a, "A", xs.rows, cs.cols);
            const auto view = out(result, "out", xs.rows, xs.cols);
            const py::gil_scoped_release unlocked;
            pull_back<T>(xs, zs, cs, profile, as, {}, view, n_threads);
        },
        py::arg("X").noconvert(), py::arg("Z").noconvert(), py::arg("C").noconvert(),
        py::arg("profile"), py::arg("A").noconvert(), py::arg("out").noconvert(),
        py::arg("n_threads"));
}

}  // namespace

void bind_kernel(py::module_& m) {
    py::class_<Profile>(m, "Profile")
        .def(py::init(&make_profile), py::arg("family"), py::arg("length_scale"),
             py::arg("alpha") = 1.0, py::arg("degree") = 1);
    bind_precision<float>(m);
    bind_precision<double>(m);
}

}  // namespace kflow::python
