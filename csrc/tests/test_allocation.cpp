// Every allocation of a layer and of a replay fails in turn: the points stay as they were, and the
// functions for C return a status.

#include <atomic>
#include <cstdlib>
#include <new>
#include <vector>

#include "check.hpp"
#include "kflow.h"
#include "kflow/layer.hpp"
#include "kflow/replay.hpp"
#include "kflow/runtime.hpp"
#include "matrix.hpp"

namespace {

// How many allocations still succeed; negative: all.
std::atomic<long> left{-1};

void* allocate(std::size_t size, std::size_t alignment) {
    long before = left.load();
    while (before >= 0 && !left.compare_exchange_weak(before, before == 0 ? 0 : before - 1)) {
    }
    void* memory = nullptr;
    if (before != 0) {
        memory = alignment == 0 ? std::malloc(size)
                                : std::aligned_alloc(
                                      alignment, (size + alignment - 1) / alignment * alignment);
    }
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    return memory;
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size > 0 ? size : 1, 0); }
void* operator new(std::size_t size, std::align_val_t alignment) {
    return allocate(size > 0 ? size : 1, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

using namespace kflow;
using namespace kflow::test;

namespace {

constexpr Index kPoints = 700, kBatch = 20, kDimension = 9;

/// Calls an action until none of its allocations fails, and returns how often one failed.
template <class Action, class Unchanged>
long until_all_succeed(Action&& action, Unchanged&& unchanged) {
    for (long n = 0;; ++n) {
        left = n;
        bool failed = false;
        try {
            action();
        } catch (const std::bad_alloc&) {
            failed = true;
        }
        left = -1;
        if (!failed) {
            return n;
        }
        CHECK(unchanged());
    }
}

template <class T>
void layers(int n_threads) {
    Matrix<T> points = random_matrix<T>(kPoints, kDimension, 1, 0.5);
    Matrix<T> displacement = random_matrix<T>(kPoints, kDimension, 2, 0.1);
    const Matrix<double> y = random_matrix<double>(kPoints, 2, 3);
    const Matrix<T> before = points, pending = displacement;
    std::vector<Index> batch;
    for (Index i = 0; i < kBatch; ++i) {
        batch.push_back(i * 31 % kPoints);
    }
    LayerOptions options;
    options.profile.length_scale = 3.0;
    options.nugget = 0.1;
    options.n_coarse = kBatch / 2;
    Matrix<T> z(kBatch, kDimension), c(kBatch, kDimension);
    LayerReport report;
    const std::vector<MovingPoints<T>> sets{{points.view(), displacement.view()}};
    const long n = until_all_succeed(
        [&] {
            Batch workspace;
            report = flow_layer<T>(sets, 0.5, y.view(), nullptr, batch.data(), kBatch, nullptr,
                                   options, z.view(), c.view(), workspace, n_threads);
        },
        [&] { return points == before && displacement == pending; });
    CHECK(n > 10);
    CHECK(report.step > 0.0);

    // What went well in the end is what goes well at once.
    Matrix<T> twin = before, moved = pending;
    Batch workspace;
    Matrix<T> z2(kBatch, kDimension), c2(kBatch, kDimension);
    flow_layer<T>({{twin.view(), moved.view()}}, 0.5, y.view(), nullptr, batch.data(), kBatch,
                  nullptr, options, z2.view(), c2.view(), workspace, n_threads);
    CHECK(points == twin && displacement == moved && z == z2 && c == c2);

    const Matrix<T>& cz = z;
    const Matrix<T>& cc = c;
    const std::vector<Layer<T>> stored{{cz.view(), cc.view(), 0.1}};
    const Matrix<T> start = points;
    const long replays =
        until_all_succeed([&] { replay<T>(points.view(), stored, options.profile, n_threads); },
                          [&] { return points == start; });
    CHECK(replays > 3);
    CHECK(!(points == start));
}

void layers_in_c(int n_threads) {
    Matrix<double> points = random_matrix<double>(kPoints, kDimension, 1, 0.5);
    Matrix<double> y = random_matrix<double>(kPoints, 2, 3);
    Matrix<double> z(kBatch, kDimension), c(kBatch, kDimension);
    const Matrix<double> before = points;
    std::vector<ptrdiff_t> batch;
    for (ptrdiff_t i = 0; i < kBatch; ++i) {
        batch.push_back(i * 31 % kPoints);
    }
    const kflow_layer_options options{
        {KFLOW_GAUSSIAN, 1, 3.0, 1.0}, 0.1, 0.1, 10.0, KFLOW_STEP_RMS, 0, kBatch / 2, 1};
    kflow_layer_report report;
    kflow_error error;
    for (long n = 0;; ++n) {
        left = n;
        const int32_t status = kflow_get_api()->layer_f64(
            &options, points.data(), kPoints, kDimension, kDimension, y.data(), 2, nullptr,
            batch.data(), kBatch, nullptr, z.data(), c.data(), &report, n_threads, &error);
        left = -1;
        if (status == KFLOW_OK) {
            CHECK(n > 10);
            CHECK(!(points == before));
            return;
        }
        CHECK(status == KFLOW_OUT_OF_MEMORY);
        CHECK(points == before);
    }
}

}  // namespace

int main() {
    set_team_threshold(0.0);
    for (const int n_threads : {1, 3}) {
        layers<float>(n_threads);
        layers<double>(n_threads);
        layers_in_c(n_threads);
    }
    return result();
}
