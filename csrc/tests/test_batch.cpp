#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "check.hpp"
#include "kflow/batch.hpp"
#include "kflow/error.hpp"
#include "naive.hpp"

using namespace kflow;
using namespace kflow::test;

namespace {

constexpr double kNugget = 0.05;

using Doubles = Matrix<double>;
using Subsets = std::vector<std::vector<Index>>;

void fill(Batch& batch, const Doubles& x, const Doubles& y) {
    batch.resize(x.rows(), x.cols(), y.cols());
    for (Index i = 0; i < x.rows(); ++i) {
        std::copy_n(x.view().row(i), x.cols(), batch.points().row(i));
        std::copy_n(y.view().row(i), y.cols(), batch.targets().row(i));
    }
}

/// Disjoint while there are rows left; the first is the leading rows, as Batch wants it.
Subsets subsets(Index n, Index n_coarse, Index n_halves) {
    Subsets out(static_cast<std::size_t>(n_halves));
    for (Index h = 0; h < n_halves; ++h) {
        for (Index i = 0; i < n_coarse; ++i) {
            out[static_cast<std::size_t>(h)].push_back((h * n_coarse + i) % n);
        }
    }
    return out;
}

struct Result {
    double rho;
    Doubles gradient, solution;
};

Result engine(Batch& batch, const Doubles& x, const Doubles& y, const Doubles& b,
              const Profile& profile, const Subsets& halves, int n_threads = 1) {
    std::vector<Index> further;
    for (std::size_t h = 1; h < halves.size(); ++h) {
        further.insert(further.end(), halves[h].begin(), halves[h].end());
    }
    fill(batch, x, y);
    batch.factor(profile, kNugget, nullptr, n_threads);
    Result out{batch.rho(static_cast<Index>(halves[0].size()), further.data(),
                         static_cast<Index>(halves.size()), n_threads),
               Doubles(x.rows(), x.cols(), -7.0), b};
    batch.gradient(out.gradient.view(), n_threads);
    batch.solve(out.solution.view(), n_threads);
    return out;
}

void against_definition(Batch& batch) {
    for (Index d : {1, 2, 3, 4, 5, 6, 7, 8, 9, 33}) {
        const Scope scope("d " + std::to_string(d));
        const Profile gaussian{Family::gaussian, std::sqrt(static_cast<double>(d)), 1.0};
        const std::vector<Profile> profiles = d == 2 || d == 9
                                                  ? naive::radial_profiles(gaussian.length_scale)
                                                  : std::vector{gaussian};
        for (Index n : {1, 2, 3, 10}) {
            const Doubles x = random_matrix<double>(n, d, 1, 3.0);
            const Doubles y = random_matrix<double>(n, 1 + d % 3, 2),
                          b = random_matrix<double>(n, d, 3);
            for (const Profile& profile : profiles) {
                for (Index n_halves : {1, 3}) {
                    const Subsets halves = subsets(n, (n + 1) / 2, n_halves);
                    const naive::Reals points = cast<long double>(x),
                                       targets = cast<long double>(y);
                    const long double rho = naive::rho(points, targets, profile, kNugget, halves);
                    const naive::Reals gradient =
                        naive::gradient(points, targets, profile, kNugget, halves);
                    const naive::Reals solution = naive::solve(points, profile, kNugget, b);
                    for_each_level([&] {
                        const Result out = engine(batch, x, y, b, profile, halves);
                        CHECK(std::fabs(out.rho - rho) <= 1e-11);
                        CHECK(out.rho >= 0.0 && out.rho <= 1.0);
                        CHECK(distance(out.gradient, gradient) <= 1e-9);
                        CHECK(distance(out.solution, solution) <= 1e-10);
                    });
                }
            }
        }
    }
}

// More rows than a tile of the batch has.
void several_tiles(Batch& batch) {
    const Index n = 150;
    for (Index d : {2, 33}) {
        const Profile profile{Family::matern52, 2.0, 1.0};
        const Doubles x = random_matrix<double>(n, d, 1), y = random_matrix<double>(n, 2, 2),
                      b = random_matrix<double>(n, 70, 3);
        const Subsets halves = subsets(n, n / 2, 2);
        const long double rho =
            naive::rho(cast<long double>(x), cast<long double>(y), profile, kNugget, halves);
        const naive::Reals solution = naive::solve(cast<long double>(x), profile, kNugget, b);
        for_each_level([&] {
            const Result out = engine(batch, x, y, b, profile, halves);
            CHECK(std::fabs(out.rho - rho) <= 1e-11);
            CHECK(distance(out.solution, solution) <= 1e-9);
            for (auto [i, k] : {std::pair<Index, Index>{0, 0}, {77, 1}, {149, 1}}) {
                const double h = 1e-5;
                const auto moved = [&, row = i, column = k](double by) {
                    Doubles other = x;
                    other(row, column) += by;
                    return engine(batch, other, y, b, profile, halves).rho;
                };
                CHECK(std::fabs(out.gradient(i, k) - (moved(h) - moved(-h)) / (2 * h)) <= 1e-8);
            }
        });
    }
}

void several_halves_are_the_average_of_single_ones(Batch& batch) {
    const Index n = 12, n_coarse = 6, d = 3;
    const Profile profile{Family::gaussian, 1.5, 1.0};
    const Doubles x = random_matrix<double>(n, d, 1), y = random_matrix<double>(n, 2, 2);
    const Subsets halves{{0, 1, 2, 3, 4, 5}, {6, 7, 8, 9, 10, 11}, {11, 0, 9, 2, 7, 4}};
    double rho = 0.0;
    Doubles gradient(n, d);
    for (const std::vector<Index>& half : halves) {
        std::vector<Index> order = half;
        for (Index i = 0; i < n; ++i) {
            if (std::find(half.begin(), half.end(), i) == half.end()) {
                order.push_back(i);
            }
        }
        const Result one = engine(batch, naive::rows_of(x, order), naive::rows_of(y, order), x,
                                  profile, {subsets(n, n_coarse, 1)});
        rho += one.rho / 3.0;
        for (Index i = 0; i < n; ++i) {
            for (Index k = 0; k < d; ++k) {
                gradient(order[static_cast<std::size_t>(i)], k) += one.gradient(i, k) / 3.0;
            }
        }
    }
    const Result all = engine(batch, x, y, x, profile, halves);
    CHECK(std::fabs(all.rho - rho) <= 1e-13);
    CHECK(distance(all.gradient, gradient) <= 1e-13);
}

void zero_targets(Batch& batch) {
    const Doubles x = random_matrix<double>(8, 2, 1), y(8, 3), b = random_matrix<double>(8, 2, 2);
    for (Index n_halves : {1, 2}) {
        const Result out = engine(batch, x, y, b, {}, subsets(8, 4, n_halves));
        CHECK(out.rho == 0.0);
        CHECK(largest(out.gradient) == 0.0L);
        CHECK(distance(out.solution, naive::solve(cast<long double>(x), {}, kNugget, b)) <= 1e-12);
    }
}

void extreme_subsets(Batch& batch) {
    const Doubles x = random_matrix<double>(8, 2, 1), y = random_matrix<double>(8, 1, 2);
    CHECK(engine(batch, x, y, x, {}, subsets(8, 0, 1)).rho == 1.0);
    CHECK(engine(batch, x, y, x, {}, subsets(8, 8, 1)).rho == 0.0);
    const Doubles nothing(0, 2), no_targets(0, 1);
    Batch unused;
    CHECK(engine(unused, nothing, no_targets, nothing, {}, {{}}).rho == 0.0);
}

void duplicates(Batch& batch) {
    for (Index d : {2, 33}) {
        Doubles x = random_matrix<double>(100, d, 1, 5.0);
        const Doubles y = random_matrix<double>(100, 1, 2);
        std::copy_n(x.view().row(31), d, x.view().row(83));
        fill(batch, x, y);
        CHECK_THROWS(batch.factor({}, 0.0, nullptr, 1), NotPositiveDefinite,
                     error.first == 31 && error.second == 83);
        fill(batch, x, y);
        batch.factor({}, 1e-3, nullptr, 1);
        CHECK(std::isfinite(batch.rho(50, nullptr, 1, 1)));
        // Distinct points of a kernel so wide that the matrix is one of ones.
        fill(batch, random_matrix<double>(100, d, 3), y);
        CHECK_THROWS(batch.factor({Family::gaussian, 1e6, 1.0}, 0.0, nullptr, 1),
                     NotPositiveDefinite, error.first == -1 && error.second == -1);
        x(17, 0) = std::nan("");
        fill(batch, x, y);
        CHECK_THROWS(batch.factor({}, 1e-3, nullptr, 1), NotPositiveDefinite, error.first == -1);
    }
}

void class_distances(Batch& batch) {
    const Index n = 90;
    for (Index d : {2, 9}) {
        const Doubles x = random_matrix<double>(n, d, 1);
        std::vector<int> labels;
        long double sum[2] = {}, count[2] = {};
        for (Index i = 0; i < n; ++i) {
            labels.push_back(static_cast<int>(i * i % 3));
            for (Index j = 0; j < i; ++j) {
                const bool same = labels[static_cast<std::size_t>(j)] == labels.back();
                sum[same] += naive::squared_distance(x, i, x, j);
                count[same] += 1;
            }
        }
        const long double expected = sum[1] / count[1] / (sum[0] / count[0]);
        fill(batch, x, Doubles(n, 1));
        CHECK(std::fabs(batch.factor({}, kNugget, labels.data(), 2) - expected) <= 1e-12);
        fill(batch, x, Doubles(n, 1));
        CHECK(std::isnan(batch.factor({}, kNugget, nullptr, 2)));
    }
}

void thread_counts(Batch& batch) {
    const Index n = 400;
    for (Index d : {2, 70}) {
        const Doubles x = random_matrix<double>(n, d, 1), y = random_matrix<double>(n, 10, 2),
                      b = random_matrix<double>(n, 150, 3);
        const Profile profile{Family::gaussian, std::sqrt(static_cast<double>(d)), 1.0};
        const Subsets halves = subsets(n, n / 2, 2);
        const Result one = engine(batch, x, y, b, profile, halves);
        for (int n_threads : {-1, 0, 2, 3, 8}) {
            const Result many = engine(batch, x, y, b, profile, halves, n_threads);
            CHECK(many.rho == one.rho);
            CHECK(many.gradient == one.gradient);
            CHECK(many.solution == one.solution);
        }
    }
}

}  // namespace

int main() {
    Batch batch;  // one for all, so that what a larger problem left behind is seen
    thread_counts(batch);
    against_definition(batch);
    several_tiles(batch);
    for_each_level([&] {
        several_halves_are_the_average_of_single_ones(batch);
        zero_targets(batch);
        extreme_subsets(batch);
        duplicates(batch);
        class_distances(batch);
    });
    return result();
}
