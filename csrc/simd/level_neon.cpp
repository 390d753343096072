#define KFLOW_VECTOR_BYTES 16
#define KFLOW_TABLE kTableNeon
#define KFLOW_LEVEL_NAME "neon"
#include "simd/level.inl"
