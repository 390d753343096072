/* The header as C sees it. */

#include "kflow.h"

int gram_in_c(const double* x, ptrdiff_t n, ptrdiff_t d, double* out);

int gram_in_c(const double* x, ptrdiff_t n, ptrdiff_t d, double* out) {
    const kflow_profile profile = {KFLOW_GAUSSIAN, 1, 2.0, 1.0};
    return kflow_get_api()->gram_f64(&profile, x, n, x, n, d, out, 1, NULL);
}
