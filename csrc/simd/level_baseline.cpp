#define KFLOW_VECTOR_BYTES 16
#define KFLOW_TABLE kTableBaseline
#define KFLOW_LEVEL_NAME "baseline"
#define KFLOW_OWN_GEMM false
#include "simd/level.inl"
