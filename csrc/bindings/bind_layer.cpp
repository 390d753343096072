#include <pybind11/stl.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/array.hpp"
#include "kflow/derivative.hpp"
#include "kflow/error.hpp"
#include "kflow/layer.hpp"
#include "kflow/replay.hpp"

namespace kflow::python {
namespace {

StepRule step_rule(const std::string& name) {
    static const std::map<std::string, StepRule> rules{{"relative", StepRule::relative},
                                                       {"rms", StepRule::rms},
                                                       {"absolute", StepRule::absolute},
                                                       {"fixed", StepRule::fixed}};
    const auto found = rules.find(name);
    if (found == rules.end()) {
        throw std::invalid_argument("step: unknown rule '" + name + "'");
    }
    return found->second;
}

template <class T>
using Sets = std::vector<std::pair<Array<T>, Array<T>>>;

void check_moving(Index n_moving, Index n_coordinates, const char* name) {
    if (n_moving < 1 || n_moving > n_coordinates) {
        refuse(name, "(any, 1 to " + std::to_string(n_coordinates) + ")");
    }
}

template <class T>
std::vector<MovingPoints<T>> views_of(Sets<T>& sets) {
    std::vector<MovingPoints<T>> views;
    for (auto& [points, displacement] : sets) {
        const bool first = views.empty();
        const auto shape = in(points, "points", -1, first ? -1 : views[0].points.cols);
        const auto moving =
            in(displacement, "displacement", shape.rows, first ? -1 : views[0].displacement.cols);
        check_moving(moving.cols, shape.cols, "displacement");
        views.push_back({out(points, "points", shape.rows, shape.cols),
                         out(displacement, "displacement", shape.rows, moving.cols)});
    }
    if (views.empty()) {
        throw std::invalid_argument("sets must not be empty");
    }
    return views;
}

// The number of layers that the points contain, without one that is pending. It is changed here,
// together with the points, because the handler of a signal may raise an exception between the end
// of this call and the next line of Python.
Index& counter(Array<Index>& settled) {
    if (settled.ndim() != 1 || settled.shape(0) != 1) {
        refuse("settled", "(1,)");
    }
    return *settled.mutable_data();
}

void check_rows(const Index* rows, Index n, Index end, const char* name) {
    if (std::any_of(rows, rows + n, [&](Index i) { return i < 0 || i >= end; })) {
        throw std::out_of_range(std::string(name) + " holds a row that does not exist");
    }
}

MatrixView<const Index> check_halves(const Array<Index>& further_halves,
                                     const LayerOptions& options, Index n_batch) {
    if (options.n_coarse < 1 || options.n_coarse >= n_batch) {
        throw std::invalid_argument("n_coarse must lie in [1, batch_size)");
    }
    const auto halves =
        in(further_halves, "further_halves", options.n_halves - 1, options.n_coarse);
    check_rows(halves.data, halves.rows * halves.cols, n_batch, "further_halves");
    return halves;
}

using Labels = std::optional<Array<int>>;

const int* check_labels(const Labels& labels, Index n) {
    if (!labels) {
        return nullptr;
    }
    if (labels->ndim() != 1 || labels->shape(0) != n) {
        refuse("labels", "(" + std::to_string(n) + ",)");
    }
    return labels->data();
}

py::tuple as_tuple(const LayerReport& report) {
    return py::make_tuple(report.rho, report.step, report.class_distance_ratio);
}

template <class T>
void settle_sets(Sets<T> sets, double pending, Array<Index> settled, Index layer, int n_threads) {
    const auto views = views_of<T>(sets);
    Index& mark = counter(settled);
    const py::gil_scoped_release unlocked;
    for (const MovingPoints<T>& view : views) {
        settle<T>(view, pending, n_threads);
    }
    mark = layer;
}

template <class T>
py::tuple flow_layer_of(Sets<T> sets, double pending, Array<Index> settled, Index layer,
                        const Array<double>& y, const Labels& labels, const Array<Index>& batch,
                        const Array<Index>& further_halves, const LayerOptions& options, Array<T> z,
                        Array<T> c, Batch& workspace, int n_threads) {
    const auto views = views_of<T>(sets);
    const Index n = views[0].points.rows, d = views[0].points.cols;
    const auto ys = in(y, "Y", n);
    const int* classes = check_labels(labels, n);
    if (batch.ndim() != 1) {
        refuse("batch", "(batch_size,)");
    }
    const Index n_batch = batch.shape(0);
    const auto halves = check_halves(further_halves, options, n_batch);
    check_rows(batch.data(), n_batch, n, "batch");
    const auto zs = out(z, "z", n_batch, d);
    const auto cs = out(c, "c", n_batch, views[0].displacement.cols);
    Index& mark = counter(settled);
    LayerReport report;
    try {
        const py::gil_scoped_release unlocked;
        report = flow_layer<T>(views, pending, ys, classes, batch.data(), n_batch, halves.data,
                               options, zs, cs, workspace, n_threads);
    } catch (const Diverged&) {
        mark = layer;
        throw;
    }
    mark = layer;
    return as_tuple(report);
}

template <class T>
py::tuple batch_layer_of(const Array<T>& z, const Array<double>& y, const Labels& labels,
                         const Array<Index>& further_halves, const LayerOptions& options,
                         Array<T> c, Batch& workspace, int n_threads) {
    const auto zs = in(z, "z");
    const Index n_batch = zs.rows;
    const auto ys = in(y, "Y", n_batch);
    const int* classes = check_labels(labels, n_batch);
    const auto halves = check_halves(further_halves, options, n_batch);
    check_moving(c.ndim() == 2 ? c.shape(1) : 0, zs.cols, "c");
    const auto cs = out(c, "c", n_batch, c.shape(1));
    LayerReport report;
    {
        const py::gil_scoped_release unlocked;
        report = batch_layer<T>(zs, ys, classes, halves.data, options, cs, workspace, n_threads);
    }
    return as_tuple(report);
}

template <class T>
Layer<T> check_layer(const Array<T>& z, const Array<T>& c, double step, Index n_coordinates) {
    const auto zs = in(z, "z", -1, n_coordinates);
    const auto cs = in(c, "c", zs.rows);
    check_moving(cs.cols, n_coordinates, "c");
    return {zs, cs, step};
}

template <class T>
void replay_layers(Array<T> points,
                   const std::vector<std::tuple<Array<T>, Array<T>, double>>& layers,
                   const Profile& profile, int n_threads) {
    const auto shape = in(points, "points");
    const auto x = out(points, "points", shape.rows, shape.cols);
    std::vector<Layer<T>> views;
    for (const auto& [z, c, step] : layers) {
        views.push_back(check_layer(z, c, step, x.cols));
    }
    const py::gil_scoped_release unlocked;
    replay<T>(x, views, profile, n_threads);
}

template <class T>
void push_layer_forward(const Array<T>& points, const Array<T>& z, const Array<T>& c,
                        const Profile& profile, Array<T> t, int n_threads) {
    const auto x = in(points, "points");
    const Layer<T> layer = check_layer(z, c, 1.0, x.cols);
    const auto ts = out(t, "t", x.rows, x.cols);
    const MatrixView<T> moving(ts.data, ts.rows, layer.c.cols, ts.stride);
    const py::gil_scoped_release unlocked;
    push_forward<T>(x, layer.z, layer.c, profile, ts, moving, moving, n_threads);
}

template <class T>
void pull_layer_back(const Array<T>& points, const Array<T>& z, const Array<T>& c,
                     const Profile& profile, Array<T> a, int n_threads) {
    const auto x = in(points, "points");
    const Layer<T> layer = check_layer(z, c, 1.0, x.cols);
    const auto as = out(a, "a", x.rows, x.cols);
    const MatrixView<const T> moving(as.data, as.rows, layer.c.cols, as.stride);
    const py::gil_scoped_release unlocked;
    pull_back<T>(x, layer.z, layer.c, profile, moving, as, as, n_threads);
}

template <class T>
void bind_precision(py::module_& m) {
    m.def("settle", &settle_sets<T>,
          "points += pending displacement for every set, and settled[0] = layer",
          py::arg("sets").noconvert(), py::arg("pending"), py::arg("settled").noconvert(),
          py::arg("layer"), py::arg("n_threads"));
    m.def("flow_layer", &flow_layer_of<T>,
          "(rho, step, class distance ratio), z and c of a layer, which then pends; what pended "
          "before is settled, and settled[0] = layer",
          py::arg("sets").noconvert(), py::arg("pending"), py::arg("settled").noconvert(),
          py::arg("layer"), py::arg("Y").noconvert(), py::arg("labels").noconvert(),
          py::arg("batch").noconvert(), py::arg("further_halves").noconvert(), py::arg("options"),
          py::arg("z").noconvert(), py::arg("c").noconvert(), py::arg("workspace"),
          py::arg("n_threads"));
    m.def("batch_layer", &batch_layer_of<T>,
          "(rho, step, class distance ratio) and c of a layer whose step is measured on its batch",
          py::arg("z").noconvert(), py::arg("Y").noconvert(), py::arg("labels").noconvert(),
          py::arg("further_halves").noconvert(), py::arg("options"), py::arg("c").noconvert(),
          py::arg("workspace"), py::arg("n_threads"));
    m.def("replay", &replay_layers<T>,
          "for (z, c, step) in layers: points[:, :q] += step K(points, z) c, c (N_f, q)",
          py::arg("points").noconvert(), py::arg("layers").noconvert(), py::arg("profile"),
          py::arg("n_threads"));
    m.def("push_layer_forward", &push_layer_forward<T>,
          "t <- the derivative of x + K(x, z) c at the points, in directions t",
          py::arg("points").noconvert(), py::arg("z").noconvert(), py::arg("c").noconvert(),
          py::arg("profile"), py::arg("t").noconvert(), py::arg("n_threads"));
    m.def("pull_layer_back", &pull_layer_back<T>,
          "a <- the transposed derivative of x + K(x, z) c at the points, times a",
          py::arg("points").noconvert(), py::arg("z").noconvert(), py::arg("c").noconvert(),
          py::arg("profile"), py::arg("a").noconvert(), py::arg("n_threads"));
}

}  // namespace

void bind_layer(py::module_& m) {
    py::class_<LayerOptions>(m, "LayerOptions")
        .def(py::init([](const Profile& profile, double nugget, const std::string& step,
                         double step_size, double gradient_cap, Index n_coarse, Index n_halves,
                         bool over_batch) {
                 if (n_halves < 1) {
                     throw std::invalid_argument("n_halves must be at least 1");
                 }
                 return LayerOptions{profile,      nugget,   step_rule(step), step_size,
                                     gradient_cap, n_coarse, n_halves,        over_batch};
             }),
             py::arg("profile"), py::arg("nugget"), py::arg("step"), py::arg("step_size"),
             py::arg("gradient_cap"), py::arg("n_coarse"), py::arg("n_halves"),
             py::arg("over_batch"));
    bind_precision<float>(m);
    bind_precision<double>(m);
}

}  // namespace kflow::python
