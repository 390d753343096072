#define KFLOW_VECTOR_BYTES 16
#define KFLOW_TABLE kTableNeon
#define KFLOW_LEVEL_NAME "neon"
#define KFLOW_OWN_GEMM false
#include "simd/level.inl"
