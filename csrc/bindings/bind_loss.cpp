#include <pybind11/stl.h>

#include <optional>
#include <vector>

#include "bindings/array.hpp"
#include "kflow/loss.hpp"

namespace kflow::python {
namespace {

using Gradient = std::optional<Array<double>>;

MatrixView<const double> square(const Array<double>& k) {
    const auto view = in(k, "K");
    return in(k, "K", view.rows, view.rows);
}

MatrixView<double> gradient_of(Gradient& gradient, Index n) {
    return gradient ? out(*gradient, "gradient", n, n) : MatrixView<double>();
}

void check_rows(MatrixView<const Index> rows, Index n, const char* name) {
    for (Index i = 0; i < rows.rows * rows.cols; ++i) {
        if (rows.data[i] < 0 || rows.data[i] >= n) {
            throw std::out_of_range(std::string(name) + " holds a row that K does not have");
        }
    }
}

MatrixView<const Index> check_halves(const Array<Index>& halves, Index n) {
    const auto view = in(halves, "halves");
    check_rows(view, n, "halves");
    if (view.rows < 1 || view.cols < 1) {
        refuse("halves", "(at least 1, at least 1)");
    }
    std::vector<Index> last_half(static_cast<std::size_t>(n), -1);
    for (Index h = 0; h < view.rows; ++h) {
        for (Index i = 0; i < view.cols; ++i) {
            Index& mark = last_half[static_cast<std::size_t>(view(h, i))];
            if (mark == h) {
                throw std::invalid_argument("halves holds a row twice");
            }
            mark = h;
        }
    }
    return view;
}

using HalvesLoss = double (*)(MatrixView<const double>, MatrixView<const double>,
                              MatrixView<const Index>, MatrixView<double>, int);

template <HalvesLoss loss>
double of_halves(const Array<double>& k, const Array<double>& y, const Array<Index>& halves,
                 Gradient gradient, int n_threads) {
    const auto a = square(k);
    const auto ys = in(y, "Y", a.rows);
    const auto rows = check_halves(halves, a.rows);
    const auto result = gradient_of(gradient, a.rows);
    const py::gil_scoped_release unlocked;
    return loss(a, ys, rows, result, n_threads);
}

double lyapunov(const Array<double>& k, const Array<double>& y, const Array<Index>& halves,
                const Array<Index>& pairs, Gradient gradient, int n_threads) {
    const auto a = square(k);
    const auto ys = in(y, "Y", a.rows);
    const auto rows = check_halves(halves, a.rows);
    const auto both = in(pairs, "pairs", -1, 2);
    check_rows(both, a.rows, "pairs");
    if (both.rows < 1 || both.rows % rows.rows != 0) {
        refuse("pairs", "(n_halves n_pairs, 2)");
    }
    const auto result = gradient_of(gradient, a.rows);
    const py::gil_scoped_release unlocked;
    return loss::lyapunov(a, ys, rows, both, result, n_threads);
}

double kfold(const Array<double>& k, const Array<double>& y,
             const std::optional<Array<Index>>& folds, Gradient gradient, int n_threads) {
    const auto a = square(k);
    const auto ys = in(y, "Y", a.rows);
    const Index* numbers = nullptr;
    if (folds) {
        if (folds->ndim() != 1 || folds->shape(0) != a.rows) {
            refuse("folds", "(" + std::to_string(a.rows) + ",)");
        }
        numbers = folds->data();
        check_rows({numbers, a.rows, 1}, a.rows, "folds");
    }
    const auto result = gradient_of(gradient, a.rows);
    const py::gil_scoped_release unlocked;
    return loss::kfold(a, ys, numbers, result, n_threads);
}

void leave_one_out(const Array<double>& k, const Array<double>& y, Array<double> residuals,
                   Array<double> variances, int n_threads) {
    const auto a = square(k);
    const auto ys = in(y, "Y", a.rows);
    const auto errors = out(residuals, "residuals", a.rows, ys.cols);
    const auto squares = out(variances, "variances", a.rows, 1);
    const py::gil_scoped_release unlocked;
    loss::leave_one_out(a, ys, errors, squares.data, n_threads);
}

double nlml(const Array<double>& k, const Array<double>& y, Gradient gradient, int n_threads) {
    const auto a = square(k);
    const auto ys = in(y, "Y", a.rows);
    const auto result = gradient_of(gradient, a.rows);
    const py::gil_scoped_release unlocked;
    return loss::nlml(a, ys, result, n_threads);
}

double mmd(const Array<double>& k, const Array<Index>& halves, Gradient gradient, int n_threads) {
    const auto a = square(k);
    const auto rows = check_halves(halves, a.rows);
    const auto result = gradient_of(gradient, a.rows);
    const py::gil_scoped_release unlocked;
    return loss::mmd(a, rows, result, n_threads);
}

}  // namespace

void bind_loss(py::module_& m) {
    m.def("loss_rho", &of_halves<loss::rho>, py::arg("K").noconvert(), py::arg("Y").noconvert(),
          py::arg("halves").noconvert(), py::arg("gradient").noconvert(), py::arg("n_threads"));
    m.def("loss_e2", &of_halves<loss::e2>, py::arg("K").noconvert(), py::arg("Y").noconvert(),
          py::arg("halves").noconvert(), py::arg("gradient").noconvert(), py::arg("n_threads"));
    m.def("loss_lyapunov", &lyapunov, py::arg("K").noconvert(), py::arg("Y").noconvert(),
          py::arg("halves").noconvert(), py::arg("pairs").noconvert(),
          py::arg("gradient").noconvert(), py::arg("n_threads"));
    m.def("loss_kfold", &kfold, "folds=None: every row is a fold of its own",
          py::arg("K").noconvert(), py::arg("Y").noconvert(), py::arg("folds").noconvert(),
          py::arg("gradient").noconvert(), py::arg("n_threads"));
    m.def("leave_one_out", &leave_one_out, py::arg("K").noconvert(), py::arg("Y").noconvert(),
          py::arg("residuals").noconvert(), py::arg("variances").noconvert(), py::arg("n_threads"));
    m.def("loss_nlml", &nlml, py::arg("K").noconvert(), py::arg("Y").noconvert(),
          py::arg("gradient").noconvert(), py::arg("n_threads"));
    m.def("loss_mmd", &mmd, py::arg("K").noconvert(), py::arg("halves").noconvert(),
          py::arg("gradient").noconvert(), py::arg("n_threads"));
}

}  // namespace kflow::python
