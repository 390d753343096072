// One instruction set. The including file defines KFLOW_VECTOR_BYTES, KFLOW_TABLE (the table's
// name) and KFLOW_LEVEL_NAME, and the build compiles it with that set's flags.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

// GCC: intrinsics read an undefined vector on purpose (GCC bug 105593), and vectors wider than the
// baseline's registers never cross into another file, so that their calling convention is moot.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "core/simd_table.hpp"

namespace kflow::detail {

// Each uses those before it.
// clang-format off
#include "simd/vec.inl"
#include "simd/exp_log.inl"
#include "simd/profiles.inl"
#include "simd/panels.inl"
#include "simd/triangular.inl"
#include "simd/means.inl"
#include "simd/fourier.inl"
#include "simd/waves.inl"
#include "simd/routines.inl"
// clang-format on

extern const SimdTable KFLOW_TABLE;
const SimdTable KFLOW_TABLE = {KFLOW_LEVEL_NAME, routines<float>(), routines<double>()};

}  // namespace kflow::detail
