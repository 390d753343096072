"""The engine for Cython: see kflow.h for what the functions do."""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, uint32_t

cdef extern from "kflow.h" nogil:
    enum:
        KFLOW_API_VERSION
        KFLOW_OK
        KFLOW_INVALID_ARGUMENT
        KFLOW_NOT_POSITIVE_DEFINITE
        KFLOW_DIVERGED
        KFLOW_OUT_OF_MEMORY
        KFLOW_FAILED
        KFLOW_GAUSSIAN
        KFLOW_LAPLACIAN
        KFLOW_MATERN32
        KFLOW_MATERN52
        KFLOW_RATIONAL_QUADRATIC
        KFLOW_INVERSE_MULTIQUADRIC
        KFLOW_CAUCHY
        KFLOW_WENDLAND
        KFLOW_STEP_RELATIVE
        KFLOW_STEP_RMS
        KFLOW_STEP_ABSOLUTE
        KFLOW_STEP_FIXED

    ctypedef struct kflow_profile:
        int32_t family
        int32_t degree
        double length_scale
        double alpha

    ctypedef struct kflow_error:
        ptrdiff_t first
        ptrdiff_t second
        char message[240]

    ctypedef struct kflow_layer_f32:
        const float *centres
        const float *coefficients
        ptrdiff_t n_centres
        ptrdiff_t n_moving
        double step

    ctypedef struct kflow_layer_f64:
        const double *centres
        const double *coefficients
        ptrdiff_t n_centres
        ptrdiff_t n_moving
        double step

    ctypedef struct kflow_layer_options:
        kflow_profile profile
        double nugget
        double step_size
        double gradient_cap
        int32_t step_rule
        int32_t over_batch
        ptrdiff_t n_coarse
        ptrdiff_t n_halves

    ctypedef struct kflow_layer_report:
        double rho
        double step
        double class_distance_ratio
        double relative_displacement

    ctypedef struct kflow_api:
        uint32_t version
        uint32_t size
        const char *(*kflow_version)() noexcept nogil
        const char *(*simd_level)() noexcept nogil
        int32_t (*family)(const char *name) noexcept nogil
        int32_t (*gram_f32)(
            const kflow_profile *profile, const float *x, ptrdiff_t n, const float *z, ptrdiff_t m,
            ptrdiff_t d, float *out, int32_t n_threads, kflow_error *error) noexcept nogil
        int32_t (*gram_f64)(
            const kflow_profile *profile, const double *x, ptrdiff_t n, const double *z, ptrdiff_t m,
            ptrdiff_t d, double *out, int32_t n_threads, kflow_error *error) noexcept nogil
        int32_t (*apply_f32)(
            const kflow_profile *profile, const float *x, ptrdiff_t n, ptrdiff_t d, const float *z,
            ptrdiff_t m, const float *c, ptrdiff_t q, double step, const float *base, float *out,
            int32_t n_threads, kflow_error *error) noexcept nogil
        int32_t (*apply_f64)(
            const kflow_profile *profile, const double *x, ptrdiff_t n, ptrdiff_t d, const double *z,
            ptrdiff_t m, const double *c, ptrdiff_t q, double step, const double *base, double *out,
            int32_t n_threads, kflow_error *error) noexcept nogil
        int32_t (*rho_f64)(
            const kflow_profile *profile, double nugget, const double *x, ptrdiff_t n, ptrdiff_t d,
            const double *y, ptrdiff_t n_targets, const ptrdiff_t *coarse, ptrdiff_t n_coarse,
            double *rho, double *gradient, int32_t n_threads, kflow_error *error) noexcept nogil
        int32_t (*layer_f32)(
            const kflow_layer_options *options, float *points, ptrdiff_t n, ptrdiff_t n_coordinates,
            ptrdiff_t n_moving, const double *targets, ptrdiff_t n_targets, const int32_t *labels,
            const ptrdiff_t *batch, ptrdiff_t n_batch, const ptrdiff_t *further_halves,
            float *centres, float *coefficients, kflow_layer_report *report, int32_t n_threads,
            kflow_error *error) noexcept nogil
        int32_t (*layer_f64)(
            const kflow_layer_options *options, double *points, ptrdiff_t n, ptrdiff_t n_coordinates,
            ptrdiff_t n_moving, const double *targets, ptrdiff_t n_targets, const int32_t *labels,
            const ptrdiff_t *batch, ptrdiff_t n_batch, const ptrdiff_t *further_halves,
            double *centres, double *coefficients, kflow_layer_report *report, int32_t n_threads,
            kflow_error *error) noexcept nogil
        int32_t (*replay_f32)(
            const kflow_profile *profile, float *points, ptrdiff_t n, ptrdiff_t n_coordinates,
            const kflow_layer_f32 *layers, ptrdiff_t n_layers, int32_t n_threads,
            kflow_error *error) noexcept nogil
        int32_t (*replay_f64)(
            const kflow_profile *profile, double *points, ptrdiff_t n, ptrdiff_t n_coordinates,
            const kflow_layer_f64 *layers, ptrdiff_t n_layers, int32_t n_threads,
            kflow_error *error) noexcept nogil

cdef extern from "kflow_python.h":
    # Call it once, when the module is imported; it raises ImportError.
    const kflow_api *kflow_import() except NULL
