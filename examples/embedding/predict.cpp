// predict MODEL POINTS: the labels of raw points of float64, one on a line, and the time that it
// took. The model was fitted and saved in Python; nothing here is Python.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <iterator>
#include <kflow/model.hpp>
#include <limits>
#include <vector>

int main(int n_arguments, char** arguments) try {
    if (n_arguments != 3) {
        std::fprintf(stderr, "usage: predict MODEL POINTS\n");
        return 2;
    }
    const auto model = kflow::Model::read(arguments[1]);
    std::ifstream file(arguments[2], std::ios::binary);
    const std::vector<char> raw((std::istreambuf_iterator<char>(file)),
                                std::istreambuf_iterator<char>());
    std::vector<double> points(raw.size() / sizeof(double));
    std::memcpy(points.data(), raw.data(), points.size() * sizeof(double));
    const kflow::Index d = model.n_features();
    const kflow::Index n = static_cast<kflow::Index>(points.size()) / d;

    std::vector<kflow::Index> classes;
    double shortest = std::numeric_limits<double>::infinity();
    for (int i = 0; i < 5; ++i) {
        const auto start = std::chrono::steady_clock::now();
        classes =
            model.classify(kflow::MatrixView<const double>(points.data(), n, d), /*n_threads=*/1);
        const std::chrono::duration<double, std::micro> time =
            std::chrono::steady_clock::now() - start;
        shortest = std::min(shortest, time.count());
    }

    for (const kflow::Index number : classes) {
        std::printf("%s\n", model.labels()[static_cast<std::size_t>(number)].c_str());
    }
    std::fprintf(stderr, "%.1f microseconds for each of %td points\n",
                 shortest / static_cast<double>(n), n);
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
