// The table of functions for C: arguments are checked, and every exception becomes a status.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/simd_table.hpp"
#include "kflow.h"
#include "kflow/apply.hpp"
#include "kflow/batch.hpp"
#include "kflow/error.hpp"
#include "kflow/gram.hpp"
#include "kflow/layer.hpp"
#include "kflow/replay.hpp"

namespace kflow {
namespace {

static_assert(static_cast<int>(Family::gaussian) == KFLOW_GAUSSIAN &&
              static_cast<int>(Family::laplacian) == KFLOW_LAPLACIAN &&
              static_cast<int>(Family::matern32) == KFLOW_MATERN32 &&
              static_cast<int>(Family::matern52) == KFLOW_MATERN52 &&
              static_cast<int>(Family::rational_quadratic) == KFLOW_RATIONAL_QUADRATIC &&
              static_cast<int>(Family::inverse_multiquadric) == KFLOW_INVERSE_MULTIQUADRIC &&
              static_cast<int>(Family::cauchy) == KFLOW_CAUCHY &&
              static_cast<int>(Family::wendland) == KFLOW_WENDLAND);
static_assert(static_cast<int>(StepRule::relative) == KFLOW_STEP_RELATIVE &&
              static_cast<int>(StepRule::rms) == KFLOW_STEP_RMS &&
              static_cast<int>(StepRule::absolute) == KFLOW_STEP_ABSOLUTE &&
              static_cast<int>(StepRule::fixed) == KFLOW_STEP_FIXED);

// As many as kflow takes from Python: every thread takes memory of its own.
constexpr int kMostThreads = 512;

// ---- errors -------------------------------------------------------------------------------------

int32_t failure(kflow_error* error, int32_t status, const char* message, Index first = -1,
                Index second = -1) {
    if (error != nullptr) {
        error->first = first;
        error->second = second;
        std::strncpy(error->message, message, sizeof error->message - 1);
        error->message[sizeof error->message - 1] = '\0';
    }
    return status;
}

template <class Body>
int32_t guarded(kflow_error* error, Body&& body) noexcept {
    try {
        body();
        return KFLOW_OK;
    } catch (const NotPositiveDefinite& e) {
        return failure(error, KFLOW_NOT_POSITIVE_DEFINITE,
                       "the kernel matrix is not positive definite: pass a larger nugget", e.first,
                       e.second);
    } catch (const Diverged& e) {
        return failure(error, KFLOW_DIVERGED, e.what());
    } catch (const std::invalid_argument& e) {
        return failure(error, KFLOW_INVALID_ARGUMENT, e.what());
    } catch (const std::bad_alloc&) {
        return failure(error, KFLOW_OUT_OF_MEMORY, "there is not enough memory");
    } catch (const std::exception& e) {
        return failure(error, KFLOW_FAILED, e.what());
    } catch (...) {
        return failure(error, KFLOW_FAILED, "an unknown exception");
    }
}

void require(bool holds, const char* what) {
    if (!holds) {
        throw std::invalid_argument(what);
    }
}

// ---- arguments ----------------------------------------------------------------------------------

template <class T>
MatrixView<T> matrix(T* data, Index rows, Index cols, const char* name) {
    if (rows < 0 || cols < 0 || (data == nullptr && rows > 0 && cols > 0)) {
        throw std::invalid_argument(std::string(name) +
                                    ": the pointer is null, or a size is negative");
    }
    return {data, rows, cols};
}

int threads(int32_t n_threads) {
    require(n_threads >= 1, "n_threads must be at least 1");
    return std::min<int>(n_threads, kMostThreads);
}

template <class T>
Profile profile_of(const kflow_profile* given) {
    require(given != nullptr, "profile is null");
    require(given->family >= KFLOW_GAUSSIAN && given->family <= KFLOW_WENDLAND,
            "profile: there is no such family");
    const Profile profile{static_cast<Family>(given->family), given->length_scale, given->alpha,
                          given->degree};
    // Its square and the inverse of that must be normal numbers.
    using Limits = std::numeric_limits<T>;
    require(profile.length_scale >= 4.0 * std::sqrt(static_cast<double>(Limits::min())) &&
                profile.length_scale <= std::sqrt(static_cast<double>(Limits::max())) / 4.0,
            "profile: length_scale must be positive, and not too extreme for the precision");
    require(traits(profile.family).alpha == Alpha::unused ||
                (profile.alpha > 0.0 && std::isfinite(profile.alpha)),
            "profile: alpha must be positive");
    require(traits(profile.family).degree == Degree::unused || profile.degree >= 1,
            "profile: degree must be at least 1");
    return profile;
}

void check_nugget(double nugget) {
    require(nugget >= 0.0 && std::isfinite(nugget), "nugget must be finite, and not negative");
}

void check_rows(const ptrdiff_t* rows, Index n, Index end, const char* name) {
    if (rows == nullptr ||
        std::any_of(rows, rows + n, [&](Index i) { return i < 0 || i >= end; })) {
        throw std::invalid_argument(std::string(name) +
                                    " is null, or holds a row that does not exist");
    }
}

void check_moving(Index n_moving, Index n_coordinates) {
    require(n_coordinates >= 1, "n_coordinates must be at least 1");
    require(n_moving >= 1 && n_moving <= n_coordinates,
            "n_moving must lie between 1 and n_coordinates");
}

// All rows, the coarse ones first.
std::vector<Index> coarse_first(const ptrdiff_t* coarse, Index n_coarse, Index n) {
    require(n_coarse >= 1 && n_coarse < n, "n_coarse must lie between 1 and n - 1");
    check_rows(coarse, n_coarse, n, "coarse");
    std::vector<Index> order(coarse, coarse + n_coarse);
    std::vector<char> is_coarse(static_cast<std::size_t>(n), 0);
    for (Index row : order) {
        require(!is_coarse[static_cast<std::size_t>(row)], "coarse holds a row twice");
        is_coarse[static_cast<std::size_t>(row)] = 1;
    }
    for (Index row = 0; row < n; ++row) {
        if (!is_coarse[static_cast<std::size_t>(row)]) {
            order.push_back(row);
        }
    }
    return order;
}

template <class T>
LayerOptions options_of(const kflow_layer_options* given) {
    require(given != nullptr, "options are null");
    require(given->step_rule >= KFLOW_STEP_RELATIVE && given->step_rule <= KFLOW_STEP_FIXED,
            "options: there is no such step_rule");
    require(given->step_size > 0.0 && std::isfinite(given->step_size),
            "options: step_size must be positive");
    require(given->gradient_cap > 0.0,
            "options: gradient_cap must be positive; pass infinity for none");
    require(given->n_halves >= 1, "options: n_halves must be at least 1");
    check_nugget(given->nugget);
    return {profile_of<T>(&given->profile),
            given->nugget,
            static_cast<StepRule>(given->step_rule),
            given->step_size,
            given->gradient_cap,
            given->n_coarse,
            given->n_halves,
            given->over_batch != 0};
}

// ---- the functions ------------------------------------------------------------------------------

const char* version_of_kflow() { return KFLOW_VERSION; }

const char* level() {
    try {
        return detail::simd().name;
    } catch (...) {  // KFLOW_SIMD_LEVEL names none
        return nullptr;
    }
}

int32_t family_of(const char* name) {
    for (const FamilyTraits& family : kFamilies) {
        if (name != nullptr && family.argument == Argument::squared_distance &&
            std::strcmp(family.name, name) == 0) {
            return static_cast<int32_t>(family.family);
        }
    }
    return -1;
}

template <class T>
int32_t gram_of(const kflow_profile* profile, const T* x, ptrdiff_t n, const T* z, ptrdiff_t m,
                ptrdiff_t d, T* out, int32_t n_threads, kflow_error* error) {
    return guarded(error, [&] {
        require(d >= 1, "d must be at least 1");
        gram<T>(matrix(x, n, d, "x"), matrix(z, m, d, "z"), profile_of<T>(profile),
                matrix(out, n, m, "out"), threads(n_threads));
    });
}

template <class T>
int32_t apply_of(const kflow_profile* profile, const T* x, ptrdiff_t n, ptrdiff_t d, const T* z,
                 ptrdiff_t m, const T* c, ptrdiff_t q, double step, const T* base, T* out,
                 int32_t n_threads, kflow_error* error) {
    return guarded(error, [&] {
        require(d >= 1, "d must be at least 1");
        require(std::isfinite(step), "step must be finite");
        const MatrixView<const T> bases =
            base == nullptr ? MatrixView<const T>() : MatrixView<const T>(base, n, q);
        apply<T>(matrix(x, n, d, "x"), matrix(z, m, d, "z"), matrix(c, m, q, "c"),
                 profile_of<T>(profile), step, bases, matrix(out, n, q, "out"), threads(n_threads));
    });
}

int32_t rho_of(const kflow_profile* profile, double nugget, const double* x, ptrdiff_t n,
               ptrdiff_t d, const double* y, ptrdiff_t n_targets, const ptrdiff_t* coarse,
               ptrdiff_t n_coarse, double* value, double* gradient, int32_t n_threads,
               kflow_error* error) {
    std::vector<Index> order;
    const int32_t status = guarded(error, [&] {
        require(d >= 1, "d must be at least 1");
        require(value != nullptr, "rho is null");
        check_nugget(nugget);
        const auto xs = matrix(x, n, d, "x");
        const auto ys = matrix(y, n, n_targets, "y");
        order = coarse_first(coarse, n_coarse, n);
        const MatrixView<double> gradients =
            gradient == nullptr ? MatrixView<double>() : MatrixView<double>(gradient, n, d);
        *value = rho(xs, ys, order.data(), n_coarse, profile_of<double>(profile), nugget, gradients,
                     threads(n_threads));
    });
    if (status == KFLOW_NOT_POSITIVE_DEFINITE && error != nullptr && error->first >= 0) {
        error->first = order[static_cast<std::size_t>(error->first)];
        error->second = order[static_cast<std::size_t>(error->second)];
    }
    return status;
}

template <class T>
int32_t layer_of(const kflow_layer_options* options, T* points, ptrdiff_t n,
                 ptrdiff_t n_coordinates, ptrdiff_t n_moving, const double* targets,
                 ptrdiff_t n_targets, const int32_t* labels, const ptrdiff_t* batch,
                 ptrdiff_t n_batch, const ptrdiff_t* further_halves, T* centres, T* coefficients,
                 kflow_layer_report* report, int32_t n_threads, kflow_error* error) {
    return guarded(error, [&] {
        check_moving(n_moving, n_coordinates);
        require(report != nullptr, "report is null");
        const LayerOptions layer_options = options_of<T>(options);
        require(layer_options.n_coarse >= 1 && layer_options.n_coarse < n_batch,
                "options: n_coarse must lie between 1 and n_batch - 1");
        check_rows(batch, n_batch, n, "batch");
        if (layer_options.n_halves > 1) {
            check_rows(further_halves, (layer_options.n_halves - 1) * layer_options.n_coarse,
                       n_batch, "further_halves");
        }
        const auto xs = matrix(points, n, n_coordinates, "points");
        const auto ys = matrix(targets, n, n_targets, "targets");
        const auto zs = matrix(centres, n_batch, n_coordinates, "centres");
        const auto cs = matrix(coefficients, n_batch, n_moving, "coefficients");
        const int team = threads(n_threads);
        std::vector<T> displacement(static_cast<std::size_t>(n * n_moving));
        Batch workspace;
        const std::vector<MovingPoints<T>> sets{{xs, {displacement.data(), n, n_moving}}};
        const LayerReport done =
            flow_layer<T>(sets, 0.0, ys, labels, batch, n_batch, further_halves, layer_options, zs,
                          cs, workspace, team);
        settle<T>(sets.front(), done.step, team);
        *report = {done.rho, done.step, done.class_distance_ratio, done.relative_displacement};
    });
}

template <class T, class GivenLayer>
int32_t replay_of(const kflow_profile* profile, T* points, ptrdiff_t n, ptrdiff_t n_coordinates,
                  const GivenLayer* layers, ptrdiff_t n_layers, int32_t n_threads,
                  kflow_error* error) {
    return guarded(error, [&] {
        require(n_coordinates >= 1, "n_coordinates must be at least 1");
        require(n_layers >= 0 && (layers != nullptr || n_layers == 0),
                "layers: the pointer is null, or their number is negative");
        std::vector<Layer<T>> views;
        for (const GivenLayer* layer = layers; layer != layers + n_layers; ++layer) {
            check_moving(layer->n_moving, n_coordinates);
            require(std::isfinite(layer->step), "step must be finite");
            views.push_back(
                {matrix(layer->centres, layer->n_centres, n_coordinates, "centres"),
                 matrix(layer->coefficients, layer->n_centres, layer->n_moving, "coefficients"),
                 layer->step});
        }
        replay<T>(matrix(points, n, n_coordinates, "points"), views, profile_of<T>(profile),
                  threads(n_threads));
    });
}

constexpr kflow_api kTable = {
    KFLOW_API_VERSION,
    sizeof(kflow_api),
    version_of_kflow,
    level,
    family_of,
    gram_of<float>,
    gram_of<double>,
    apply_of<float>,
    apply_of<double>,
    rho_of,
    layer_of<float>,
    layer_of<double>,
    replay_of<float, kflow_layer_f32>,
    replay_of<double, kflow_layer_f64>,
};

}  // namespace
}  // namespace kflow

const kflow_api* kflow_get_api() { return &kflow::kTable; }
