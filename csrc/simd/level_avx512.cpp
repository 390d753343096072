#define KFLOW_VECTOR_BYTES 64
#define KFLOW_TABLE kTableAvx512
#define KFLOW_LEVEL_NAME "avx512"
#define KFLOW_OWN_GEMM true
#include "simd/level.inl"
