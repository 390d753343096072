// model_values MODEL: says what the model is. model_values MODEL WHAT DTYPE N_THREADS < POINTS >
// VALUES: what the model makes of raw points, as raw doubles. Status 2 and a message if it is
// refused.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "kflow/model.hpp"

namespace {

using kflow::Index;

std::vector<char> everything(std::FILE* file) {
    std::vector<char> out;
    char piece[65536];
    for (std::size_t n = 0; (n = std::fread(piece, 1, sizeof piece, file)) > 0;) {
        out.insert(out.end(), piece, piece + n);
    }
    return out;
}

template <class T>
void write_values(const kflow::Model& model, const std::string& what, int n_threads) {
    const std::vector<char> raw = everything(stdin);
    std::vector<T> points(raw.size() / sizeof(T));
    std::memcpy(points.data(), raw.data(), points.size() * sizeof(T));
    const Index d = model.n_features(), n = static_cast<Index>(points.size()) / d;
    const kflow::MatrixView<const T> x(points.data(), n, d);
    const Index q = what == "transform" ? d : what == "classify" ? 1 : model.n_outputs();
    std::vector<double> values(static_cast<std::size_t>(n * q));
    const kflow::MatrixView<double> out(values.data(), n, q);
    if (what == "transform") {
        model.transform(x, out, n_threads);
    } else if (what == "classify") {
        Index i = 0;
        for (Index number : model.classify(x, n_threads)) {
            values[static_cast<std::size_t>(i++)] = static_cast<double>(number);
        }
    } else if (what == "probabilities") {
        model.probabilities(x, out, n_threads);
    } else {
        model.predict(x, out, n_threads);
    }
    std::fwrite(values.data(), sizeof(double), values.size(), stdout);
}

}  // namespace

int main(int n_arguments, char** arguments) {
    try {
        const kflow::Model model = kflow::Model::read(arguments[1]);
        if (n_arguments < 5) {
            std::printf("%s %td %td %td", model.kind().c_str(), model.n_features(),
                        model.n_layers(), model.n_outputs());
            for (const std::string& label : model.labels()) {
                std::printf("\n%s", label.c_str());
            }
        } else if (std::strcmp(arguments[3], "float32") == 0) {
            write_values<float>(model, arguments[2], std::atoi(arguments[4]));
        } else {
            write_values<double>(model, arguments[2], std::atoi(arguments[4]));
        }
    } catch (const kflow::ModelError& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    } catch (const std::invalid_argument& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
    return 0;
}
