#ifndef KFLOW_H
#define KFLOW_H

/* The engine for programs in C, and in whatever calls C: a table of functions.
 *
 * A compiled Python module takes the table from the capsule `kflow.c_api.C_API`: see
 * kflow_python.h, or kflow/c_api.pxd in Cython. A program without Python links the CMake target
 * kflow::kflow and calls kflow_get_api().
 *
 * The rules of all functions:
 *
 * - Matrices are row-major without gaps, and belong to the caller. What is written overlaps nothing
 *   that is read, except where a function says so.
 * - Numbers in matrices must be finite, which is not checked. All that costs nothing is: sizes,
 * rows, parameters.
 * - Points are float (f32) or double (f64). The algebra of a batch is in double in either case.
 * - `n_threads` is the largest number of threads, at least 1. Results do not depend on it.
 * - The result is a status, and `error`, which may be NULL, says more if that is not KFLOW_OK. What
 *   was to be written may then hold anything, if nothing else is said. Nothing is thrown.
 * - Nothing touches Python: call without the interpreter's lock. Any number of threads may call,
 * with results of their own. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the table below. A later one has further functions at its end, and none that is
 * different: a program runs with the version that it was compiled with, and with all later ones. */
#define KFLOW_API_VERSION 1

/* Statuses. */
#define KFLOW_OK 0
#define KFLOW_INVALID_ARGUMENT 1      /* the message names the argument */
#define KFLOW_NOT_POSITIVE_DEFINITE 2 /* see kflow_error */
#define KFLOW_DIVERGED 3              /* values are not finite, or points would move too far */
#define KFLOW_OUT_OF_MEMORY 4
#define KFLOW_FAILED 5 /* anything else */

/* Families of profiles, functions k of the distance r = |x - z|, with k = 1 at r = 0. */
#define KFLOW_GAUSSIAN 0             /* exp(-r^2 / 2 l^2) */
#define KFLOW_LAPLACIAN 1            /* exp(-r / l) */
#define KFLOW_MATERN32 2             /* (1 + h) exp(-h), h = sqrt(3) r / l */
#define KFLOW_MATERN52 3             /* (1 + h + h^2 / 3) exp(-h), h = sqrt(5) r / l */
#define KFLOW_RATIONAL_QUADRATIC 4   /* (1 + r^2 / (2 alpha l^2))^-alpha */
#define KFLOW_INVERSE_MULTIQUADRIC 5 /* (1 + r^2 / l^2)^-1/2 */
#define KFLOW_CAUCHY 6               /* 1 / (1 + r^2 / l^2) */
#define KFLOW_WENDLAND 7 /* (1 - h)^p (p h + 1) where h < 1, else 0; h = r / l, p = degree */

/* Rules for the step of a layer; see kflow::StepRule. */
#define KFLOW_STEP_RELATIVE 0
#define KFLOW_STEP_RMS 1
#define KFLOW_STEP_ABSOLUTE 2
#define KFLOW_STEP_FIXED 3

/* A kernel. `alpha` and `degree` are read by the families that have them. */
typedef struct kflow_profile {
    int32_t family;
    int32_t degree;
    double length_scale;
    double alpha;
} kflow_profile;

typedef struct kflow_error {
    /* With KFLOW_NOT_POSITIVE_DEFINITE: two rows of the points, or positions in the batch, that
     * coincide, or -1 and -1 if none are found that do. Else -1. */
    ptrdiff_t first, second;
    /* One sentence in ASCII, which ends with a zero. */
    char message[240];
} kflow_error;

/* What a layer does to any point: the first n_moving of its n_coordinates coordinates move by
 * step K(x, centres) coefficients. */
typedef struct kflow_layer_f32 {
    const float* centres;      /* (n_centres, n_coordinates) */
    const float* coefficients; /* (n_centres, n_moving) */
    ptrdiff_t n_centres, n_moving;
    double step;
} kflow_layer_f32;

typedef struct kflow_layer_f64 {
    const double* centres;
    const double* coefficients;
    ptrdiff_t n_centres, n_moving;
    double step;
} kflow_layer_f64;

/* How a layer descends. The first n_coarse points of a batch are the first coarse subset. */
typedef struct kflow_layer_options {
    kflow_profile profile;
    double nugget;
    double step_size;
    double gradient_cap; /* in median lengths of a row of the gradient; infinity for none */
    int32_t step_rule;
    int32_t over_batch; /* 1: the step is measured on the batch, 0: on all points */
    ptrdiff_t n_coarse; /* from 1 to the size of the batch - 1 */
    ptrdiff_t n_halves; /* how many coarse subsets the loss is averaged over, at least 1 */
} kflow_layer_options;

typedef struct kflow_layer_report {
    double rho;                  /* the loss before the layer */
    double step;                 /* the step that was taken */
    double class_distance_ratio; /* of the batch; NaN without labels */
    double
        relative_displacement; /* rms length of the displacements over rms length of the points */
} kflow_layer_report;

typedef struct kflow_api {
    /* The version of this table, and its size in bytes. */
    uint32_t version, size;

    /* The version of kflow, and the instruction set in use, on which last digits depend; NULL if
     * the variable KFLOW_SIMD_LEVEL names one that there is not, with which all other functions
     * fail. */
    const char* (*kflow_version)(void);
    const char* (*simd_level)(void);

    /* The number of a family with the name that Python uses, such as "matern32"; -1 if there is
     * none. */
    int32_t (*family)(const char* name);

    /* out (n, m) = K(x, z), x (n, d), z (m, d). Where z is x, the diagonal is exactly 1. */
    int32_t (*gram_f32)(const kflow_profile* profile, const float* x, ptrdiff_t n, const float* z,
                        ptrdiff_t m, ptrdiff_t d, float* out, int32_t n_threads,
                        kflow_error* error);
    int32_t (*gram_f64)(const kflow_profile* profile, const double* x, ptrdiff_t n, const double* z,
                        ptrdiff_t m, ptrdiff_t d, double* out, int32_t n_threads,
                        kflow_error* error);

    /* out (n, q) = base + step K(x, z) c, x (n, d), z (m, d), c (m, q), base (n, q) or NULL for 0.
     * K never exists as a whole. `out` may be `base`; and x, if q = d. With base = x and q = d this
     * is kflow.move, and with step = 1 and no base the values of an interpolant. */
    int32_t (*apply_f32)(const kflow_profile* profile, const float* x, ptrdiff_t n, ptrdiff_t d,
                         const float* z, ptrdiff_t m, const float* c, ptrdiff_t q, double step,
                         const float* base, float* out, int32_t n_threads, kflow_error* error);
    int32_t (*apply_f64)(const kflow_profile* profile, const double* x, ptrdiff_t n, ptrdiff_t d,
                         const double* z, ptrdiff_t m, const double* c, ptrdiff_t q, double step,
                         const double* base, double* out, int32_t n_threads, kflow_error* error);

    /* rho, kflow.rho of points x (n, d) and targets y (n, n_targets), and its gradient by the
     * points (n, d), unless that is NULL. `coarse` are n_coarse different rows, 0 < n_coarse < n.
     */
    int32_t (*rho_f64)(const kflow_profile* profile, double nugget, const double* x, ptrdiff_t n,
                       ptrdiff_t d, const double* y, ptrdiff_t n_targets, const ptrdiff_t* coarse,
                       ptrdiff_t n_coarse, double* rho, double* gradient, int32_t n_threads,
                       kflow_error* error);

    /* One layer of a flow: points (n, n_coordinates) move in their first n_moving coordinates, by
     * what the batch decides. targets (n, n_targets); labels (n) may be NULL. `batch` are n_batch
     * rows, the coarse ones first; `further_halves` (n_halves - 1, n_coarse) positions in the
     * batch, or NULL. Receives centres (n_batch, n_coordinates) and coefficients (n_batch,
     * n_moving), which with report->step are the layer. If it fails, the points are those before
     * it. */
    int32_t (*layer_f32)(const kflow_layer_options* options, float* points, ptrdiff_t n,
                         ptrdiff_t n_coordinates, ptrdiff_t n_moving, const double* targets,
                         ptrdiff_t n_targets, const int32_t* labels, const ptrdiff_t* batch,
                         ptrdiff_t n_batch, const ptrdiff_t* further_halves, float* centres,
                         float* coefficients, kflow_layer_report* report, int32_t n_threads,
                         kflow_error* error);
    int32_t (*layer_f64)(const kflow_layer_options* options, double* points, ptrdiff_t n,
                         ptrdiff_t n_coordinates, ptrdiff_t n_moving, const double* targets,
                         ptrdiff_t n_targets, const int32_t* labels, const ptrdiff_t* batch,
                         ptrdiff_t n_batch, const ptrdiff_t* further_halves, double* centres,
                         double* coefficients, kflow_layer_report* report, int32_t n_threads,
                         kflow_error* error);

    /* Moves points (n, n_coordinates) through layers, one after the other, in place, as the flow
     * that made them moved its own. What becomes of a point does not depend on the others. */
    int32_t (*replay_f32)(const kflow_profile* profile, float* points, ptrdiff_t n,
                          ptrdiff_t n_coordinates, const kflow_layer_f32* layers,
                          ptrdiff_t n_layers, int32_t n_threads, kflow_error* error);
    int32_t (*replay_f64)(const kflow_profile* profile, double* points, ptrdiff_t n,
                          ptrdiff_t n_coordinates, const kflow_layer_f64* layers,
                          ptrdiff_t n_layers, int32_t n_threads, kflow_error* error);
} kflow_api;

/* The table of the library that the program is linked with. */
const kflow_api* kflow_get_api(void);

#ifdef __cplusplus
}
#endif

#endif
