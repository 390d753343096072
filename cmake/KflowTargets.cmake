# Compiler flags, in one place.

# Vectors are an extension of GCC and Clang, and no other compiler has it. On Windows this is Clang: clang-cl
# (-T ClangCL), or clang++ with MinGW's libraries.
if(MSVC AND NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  message(FATAL_ERROR "kflow needs GCC or Clang: on Windows pass -T ClangCL, or install clang-cl")
endif()

# What clang-cl takes for Clang and what it takes for Microsoft's compiler.
function(kflow_compile_options target)
  if(MSVC)
    list(TRANSFORM ARGN PREPEND "/clang:")
  endif()
  target_compile_options(${target} PRIVATE ${ARGN})
endfunction()

# Floating point: errno and traps are given up, contraction is allowed;
# re-association is not (it breaks the rounding trick of exp, and reproducibility).
function(kflow_flags target)
  target_compile_features(${target} PUBLIC cxx_std_17)
  set_target_properties(${target} PROPERTIES
    CXX_EXTENSIONS OFF
    POSITION_INDEPENDENT_CODE ON
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON)
  if(KFLOW_WERROR)
    kflow_compile_options(${target} -Werror)
  endif()
  kflow_compile_options(${target}
    -Wall -Wextra -Wshadow
    -fno-math-errno -fno-trapping-math -ffp-contract=fast)
endfunction()

# One translation unit for each instruction set; no other file sees these flags.
function(kflow_add_simd_level target source)
  target_sources(${target} PRIVATE ${source})
  if(MSVC)
    list(TRANSFORM ARGN PREPEND "/clang:")
  endif()
  set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${ARGN}")
endfunction()

function(kflow_add_simd_levels target)
  kflow_add_simd_level(${target} csrc/simd/level_baseline.cpp)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    kflow_add_simd_level(${target} csrc/simd/level_avx2.cpp -mavx2 -mfma)
    kflow_add_simd_level(${target} csrc/simd/level_avx512.cpp
      -mavx512f -mavx512dq -mavx512vl -mavx512bw -mavx2 -mfma -mprefer-vector-width=512)
    target_compile_definitions(${target} PRIVATE KFLOW_COMPILE_X86)
  elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
    kflow_add_simd_level(${target} csrc/simd/level_neon.cpp)
    target_compile_definitions(${target} PRIVATE KFLOW_COMPILE_NEON)
  endif()
endfunction()
