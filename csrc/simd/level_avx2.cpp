#define KFLOW_VECTOR_BYTES 32
#define KFLOW_TABLE kTableAvx2
#define KFLOW_LEVEL_NAME "avx2"
#include "simd/level.inl"
