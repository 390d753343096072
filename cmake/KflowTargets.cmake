# Compiler flags, in one place.

# Floating point: errno and traps are given up, contraction is allowed;
# re-association is not (it breaks the rounding trick of exp, and reproducibility).
function(kflow_flags target)
  target_compile_features(${target} PUBLIC cxx_std_17)
  set_target_properties(${target} PROPERTIES
    CXX_EXTENSIONS OFF
    POSITION_INDEPENDENT_CODE ON
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wshadow $<$<BOOL:${KFLOW_WERROR}>:-Werror>
    -fno-math-errno -fno-trapping-math -ffp-contract=fast)
endfunction()

# One translation unit for each instruction set; no other file sees these flags.
function(kflow_add_simd_levels target)
  target_sources(${target} PRIVATE csrc/simd/level_baseline.cpp)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    target_sources(${target} PRIVATE csrc/simd/level_avx2.cpp csrc/simd/level_avx512.cpp)
    set_source_files_properties(csrc/simd/level_avx2.cpp PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma")
    set_source_files_properties(csrc/simd/level_avx512.cpp PROPERTIES COMPILE_OPTIONS
      "-mavx512f;-mavx512dq;-mavx512vl;-mavx512bw;-mavx2;-mfma;-mprefer-vector-width=512")
    target_compile_definitions(${target} PRIVATE KFLOW_COMPILE_X86)
  elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
    target_sources(${target} PRIVATE csrc/simd/level_neon.cpp)
    target_compile_definitions(${target} PRIVATE KFLOW_COMPILE_NEON)
  endif()
endfunction()
