#define KFLOW_VECTOR_BYTES 64
#define KFLOW_TABLE kTableAvx512
#define KFLOW_LEVEL_NAME "avx512"
#include "simd/level.inl"
