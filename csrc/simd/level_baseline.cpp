#define KFLOW_VECTOR_BYTES 16
#define KFLOW_TABLE kTableBaseline
#define KFLOW_LEVEL_NAME "baseline"
#include "simd/level.inl"
