#pragma once

namespace kflow {

/// Fortran entry points with 32-bit integers. Either all are set or none is: a null table means
/// that the engine uses its own, slower routines.
struct BlasTable {
    using Gemm32 = void (*)(char*, char*, int*, int*, int*, float*, float*, int*, float*, int*,
                            float*, float*, int*);
    using Gemm64 = void (*)(char*, char*, int*, int*, int*, double*, double*, int*, double*, int*,
                            double*, double*, int*);
    using Trsm64 = void (*)(char*, char*, char*, char*, int*, int*, double*, double*, int*, double*,
                            int*);
    using Potrf64 = void (*)(char*, int*, double*, int*, int*);

    Gemm32 sgemm = nullptr;
    Gemm64 dgemm = nullptr;
    Trsm64 dtrsm = nullptr;
    Potrf64 dpotrf = nullptr;

    bool complete() const { return sgemm && dgemm && dtrsm && dpotrf; }
};

/// Installs a table (complete or null) for the whole process. Safe while no computation runs.
void set_blas(const BlasTable& table);
const BlasTable& blas();

}  // namespace kflow
