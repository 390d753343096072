// Its twins are kflow/estimators/base.py, classifier.py and regressor.py.

#include "kflow/model.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <utility>
#include <variant>

#include "kflow/apply.hpp"
#include "kflow/runtime.hpp"
#include "model/archive.hpp"
#include "model/flow.hpp"
#include "model/preprocessing.hpp"

namespace kflow {
namespace {

using model::Archive;
using model::Array;
using model::Flow;
using model::Json;
using model::Preprocessing;

// Rows that are converted at a time, so that no copy of all points is made.
constexpr Index kRows = 1024;

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

/// The flow, and the interpolant of the points that it moved, in one precision.
template <class T>
struct Map {
    Flow<T> flow;
    Profile kernel;
    std::vector<T> centres;       // (n_centres, n_coordinates), or empty
    std::vector<T> coefficients;  // (n_centres, n_outputs)
    Index n_centres = 0, n_outputs = 0;

    explicit Map(const Archive& archive, const Json& settings) : flow(archive, settings) {}

    void read_interpolant(const Archive& archive) {
        kernel = model::read_kernel<T>(archive.settings().at("interpolant").at("kernel"));
        const Array z = archive.array("interpolant_centres");
        const Array c = archive.array("interpolant_coefficients");
        constexpr int kSize = static_cast<int>(sizeof(T));
        if (z.shape().size() != 2 || c.shape().size() != 2 || z.shape()[0] != c.shape()[0] ||
            z.shape()[1] != flow.n_coordinates() || z.shape()[0] < 1 || c.shape()[1] < 1 ||
            z.item_size() != kSize || c.item_size() != kSize) {
            throw ModelError("its interpolant does not fit its flow");
        }
        n_centres = z.shape()[0];
        n_outputs = c.shape()[1];
        centres = z.numbers<T>();
        coefficients = c.numbers<T>();
    }

    /// The values (n, n_outputs) of the interpolant at moved points.
    std::vector<T> values(MatrixView<const T> x, int n_threads) const {
        std::vector<T> out(size(x.rows * n_outputs));
        model::check_points<T>(x);
        apply<T>(x, {centres.data(), n_centres, x.cols},
                 {coefficients.data(), n_centres, n_outputs}, kernel, 1.0, {},
                 {out.data(), x.rows, n_outputs}, n_threads);
        return out;
    }
};

// Whether a member is one that a model of these kinds has. Any other may change what the model
// means.
bool is_known(const std::string& name) {
    static const char* const kNames[] = {"model.json",
                                         "points.npy",
                                         "points_frozen.npy",
                                         "targets.npy",
                                         "basis.npy",
                                         "interpolant_centres.npy",
                                         "interpolant_coefficients.npy",
                                         "interpolant_weights.npy",
                                         "interpolation_rows.npy",
                                         "importances.npy",
                                         "feature_names.npy",
                                         "preprocessing_unit.npy",
                                         "preprocessing_mean.npy",
                                         "preprocessing_scale.npy",
                                         "preprocessing_components.npy",
                                         "own_classes.npy",
                                         "own_temperature.npy",
                                         "own_target_mean.npy",
                                         "own_target_scale.npy",
                                         "own_one_dimensional.npy"};
    static const char* const kNumbered[] = {"blocks/", "rotation", "follow", "history_"};
    return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames) ||
           std::any_of(std::begin(kNumbered), std::end(kNumbered),
                       [&](const std::string& start) { return name.rfind(start, 0) == 0; });
}

std::vector<double> outputs(const Archive& archive, const std::string& name, Index n_outputs) {
    const Array array = archive.array(name);
    if (!array.has_shape({n_outputs}) || array.item_size() != 8) {
        throw ModelError(name + " does not fit the outputs");
    }
    return array.numbers<double>();
}

// The probability vector nearest to a row; see kflow/linear/simplex.py.
void onto_simplex(double* row, Index n) {
    std::vector<double> descending(row, row + n);
    std::sort(descending.begin(), descending.end(), [](double a, double b) { return a > b; });
    double sum = 0.0, shift = 0.0;
    for (Index k = 0; k < n; ++k) {
        sum += descending[size(k)];
        const double candidate = (sum - 1.0) / static_cast<double>(k + 1);
        if (descending[size(k)] - candidate > 0.0) {
            shift = candidate;
        }
    }
    double total = 0.0;
    for (Index k = 0; k < n; ++k) {
        row[k] = std::max(row[k] - shift, 0.0);
        total += row[k];
    }
    for (Index k = 0; k < n; ++k) {
        row[k] /= total;
    }
}

void softmax(double* row, Index n, double temperature) {
    for (Index k = 0; k < n; ++k) {
        row[k] /= temperature;
    }
    const double largest = *std::max_element(row, row + n);
    double total = 0.0;
    for (Index k = 0; k < n; ++k) {
        row[k] = std::exp(row[k] - largest);
        total += row[k];
    }
    for (Index k = 0; k < n; ++k) {
        row[k] /= total;
    }
}

void check_shape(Index n, MatrixView<double> out, Index n_columns) {
    if (out.rows != n || out.cols != n_columns) {
        throw std::invalid_argument("out must have shape (" + std::to_string(n) + ", " +
                                    std::to_string(n_columns) + ")");
    }
}

}  // namespace

struct Model::Content {
    std::string kind;
    Preprocessing preprocessing;
    std::variant<Map<float>, Map<double>> map;
    Index n_features, n_outputs = 0;
    std::vector<std::string> labels;                // of a classifier
    double temperature = 0.0;                       // of a classifier; 0 if it has none
    std::vector<double> target_mean, target_scale;  // of a regressor

    template <class Function>
    auto visit(Function&& function) const {
        return std::visit(std::forward<Function>(function), map);
    }

    explicit Content(const Archive& archive)
        : kind(archive.kind()),
          map(map_of(archive)),
          n_features(visit([](const auto& m) { return m.flow.n_features(); })) {
        for (const std::string& name : archive.names()) {
            if (!is_known(name)) {
                throw ModelError("it has " + name + ", which this reader does not know");
            }
        }
        if (kind == "KernelFlow") {
            return;
        }
        if (archive.settings().at("n_features_in").index() != n_features) {
            throw ModelError("its flow does not fit its features");
        }
        preprocessing = Preprocessing(archive, n_features);
        std::visit([&](auto& m) { m.read_interpolant(archive); }, map);
        n_outputs = visit([](const auto& m) { return m.n_outputs; });
        if (kind == "KernelFlowRegressor") {
            target_mean = outputs(archive, "own_target_mean", n_outputs);
            target_scale = outputs(archive, "own_target_scale", n_outputs);
            return;
        }
        labels = archive.array("own_classes").texts();
        if (static_cast<Index>(labels.size()) != n_outputs) {
            throw ModelError("its classes do not fit its interpolant");
        }
        if (archive.has_array("own_temperature")) {
            temperature = outputs(archive, "own_temperature", 1)[0];
            if (!(temperature > 0.0)) {
                throw ModelError("its temperature is not positive");
            }
        }
    }

    static std::variant<Map<float>, Map<double>> map_of(const Archive& archive) {
        const std::string& kind = archive.kind();
        const bool is_flow = kind == "KernelFlow";
        if (!is_flow && kind != "KernelFlowClassifier" && kind != "KernelFlowRegressor") {
            throw ModelError("it holds a " + kind + ", which this reader does not know");
        }
        const Json& settings = is_flow ? archive.settings() : archive.settings().at("flow");
        if (settings.at("dtype").text() == "float32") {
            return Map<float>(archive, settings);
        }
        return Map<double>(archive, settings);
    }

    /// take(first row, map, moved points) for some rows at a time.
    template <class T, class Take>
    void move(MatrixView<const T> x, int n_threads, Take&& take) const {
        if (x.cols != n_features) {
            throw std::invalid_argument("x must have " + std::to_string(n_features) + " columns");
        }
        if (n_threads < 1) {
            throw std::invalid_argument("n_threads must be at least 1");
        }
        const TeamLease lease;
        visit([&](const auto& m) { move_by(m, x, n_threads, take); });
    }

    template <class Flowing, class T, class Take>
    void move_by(const Map<Flowing>& m, MatrixView<const T> x, int n_threads, Take&& take) const {
        for (Index first = 0; first < x.rows; first += kRows) {
            const Index n = std::min(kRows, x.rows - first), d = x.cols;
            std::vector<T> rows;
            for (Index i = first; i < first + n; ++i) {
                rows.insert(rows.end(), x.row(i), x.row(i) + d);
            }
            for (T value : rows) {
                if (!std::isfinite(value)) {
                    throw std::invalid_argument("x has a value that is not finite");
                }
            }
            preprocessing(MatrixView<T>(rows.data(), n, d), n_threads);
            const std::vector<Flowing> points(rows.begin(), rows.end());
            const std::vector<Flowing> moved = m.flow.moved({points.data(), n, d}, n_threads);
            take(first, m, MatrixView<const Flowing>(moved.data(), n, m.flow.n_coordinates()));
        }
    }

    void require_classifier() const {
        if (labels.empty()) {
            throw ModelError("a " + kind + " has no classes");
        }
    }
};

Model::Model(std::shared_ptr<const Content> content) : content_(std::move(content)) {}

Model Model::read(const std::string& path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    const std::streamoff n = file ? static_cast<std::streamoff>(file.tellg()) : -1;
    std::vector<unsigned char> content(n > 0 ? static_cast<std::size_t>(n) : 0);
    file.seekg(0);
    file.read(reinterpret_cast<char*>(content.data()),
              static_cast<std::streamsize>(content.size()));
    if (!file) {
        throw ModelError(path + " cannot be read");
    }
    return parse(std::move(content), path);
}

Model Model::parse(std::vector<unsigned char> content, const std::string& name) {
    try {
        return Model(std::make_shared<const Content>(Archive(std::move(content))));
    } catch (const ModelError& error) {
        throw ModelError(name + ": " + error.what());
    }
}

const std::string& Model::kind() const { return content_->kind; }
Index Model::n_features() const { return content_->n_features; }
Index Model::n_outputs() const { return content_->n_outputs; }
const std::vector<std::string>& Model::labels() const { return content_->labels; }
Index Model::n_layers() const {
    return content_->visit([](const auto& m) { return m.flow.n_layers(); });
}

template <class T>
void Model::transform(MatrixView<const T> x, MatrixView<double> out, int n_threads) const {
    if (content_->visit([](const auto& m) { return m.flow.has_subspace(); })) {
        throw ModelError(
            "transform: the flow runs in a subspace (rank), which this reader does not "
            "transform back");
    }
    check_shape(x.rows, out, n_features());
    content_->move(x, n_threads, [&](Index first, const auto&, auto moved) {
        for (Index i = 0; i < moved.rows; ++i) {
            std::copy_n(moved.row(i), moved.cols, out.row(first + i));
        }
    });
}

template <class T>
void Model::predict(MatrixView<const T> x, MatrixView<double> out, int n_threads) const {
    if (content_->n_outputs == 0) {
        throw ModelError("predict: a " + kind() + " has no outputs, only transform");
    }
    const Index q = n_outputs();
    check_shape(x.rows, out, q);
    content_->move(x, n_threads, [&](Index first, const auto& m, auto moved) {
        const auto values = m.values(moved, n_threads);
        for (Index i = 0; i < moved.rows; ++i) {
            double* row = out.row(first + i);
            std::copy_n(values.data() + i * q, q, row);
            for (Index k = 0; k < q && !content_->target_mean.empty(); ++k) {
                row[k] = row[k] * content_->target_scale[size(k)] + content_->target_mean[size(k)];
            }
        }
    });
}

template <class T>
std::vector<Index> Model::classify(MatrixView<const T> x, int n_threads) const {
    content_->require_classifier();
    const Index q = n_outputs();
    std::vector<double> values(size(x.rows * q));
    predict(x, MatrixView<double>(values.data(), x.rows, q), n_threads);
    std::vector<Index> classes;
    for (Index i = 0; i < x.rows; ++i) {
        const double* row = values.data() + i * q;
        classes.push_back(std::max_element(row, row + q) - row);
    }
    return classes;
}

template <class T>
void Model::probabilities(MatrixView<const T> x, MatrixView<double> out, int n_threads) const {
    content_->require_classifier();
    predict(x, out, n_threads);
    for (Index i = 0; i < x.rows; ++i) {
        if (content_->temperature > 0.0) {
            softmax(out.row(i), out.cols, content_->temperature);
        } else {
            onto_simplex(out.row(i), out.cols);
        }
    }
}

template void Model::transform(MatrixView<const float>, MatrixView<double>, int) const;
template void Model::transform(MatrixView<const double>, MatrixView<double>, int) const;
template void Model::predict(MatrixView<const float>, MatrixView<double>, int) const;
template void Model::predict(MatrixView<const double>, MatrixView<double>, int) const;
template std::vector<Index> Model::classify(MatrixView<const float>, int) const;
template std::vector<Index> Model::classify(MatrixView<const double>, int) const;
template void Model::probabilities(MatrixView<const float>, MatrixView<double>, int) const;
template void Model::probabilities(MatrixView<const double>, MatrixView<double>, int) const;

}  // namespace kflow
