// Chooses the SIMD table for this processor, once.

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/simd_table.hpp"
#include "kflow/runtime.hpp"

namespace kflow {
namespace detail {
namespace {

std::vector<const SimdTable*> runnable_tables() {
    std::vector<const SimdTable*> tables{&kTableBaseline};
#ifdef KFLOW_COMPILE_X86
    // __builtin_cpu_supports asks CPUID and whether the operating system saves the registers.
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        tables.push_back(&kTableAvx2);
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) {
            tables.push_back(&kTableAvx512);
        }
    }
#endif
#ifdef KFLOW_COMPILE_NEON
    tables.push_back(&kTableNeon);
#endif
    return tables;
}

const SimdTable* find_table(const std::string& name) {
    std::string known;
    for (const SimdTable* table : runnable_tables()) {
        if (name == table->name) {
            return table;
        }
        known += (known.empty() ? "" : ", ") + std::string(table->name);
    }
    throw std::invalid_argument(
        "SIMD level '" + name +
        "' is not available here; KFLOW_SIMD_LEVEL can be one of: " + known);
}

const SimdTable* initial_table() {
    const char* wanted = std::getenv("KFLOW_SIMD_LEVEL");
    if (wanted != nullptr && *wanted != '\0') {
        return find_table(wanted);
    }
    return runnable_tables().back();
}

std::atomic<const SimdTable*>& active() {
    static std::atomic<const SimdTable*> table{initial_table()};
    return table;
}

}  // namespace

const SimdTable& simd() { return *active().load(std::memory_order_relaxed); }

}  // namespace detail

std::string simd_level() { return detail::simd().name; }

std::vector<std::string> simd_levels() {
    std::vector<std::string> names;
    for (const detail::SimdTable* table : detail::runnable_tables()) {
        names.emplace_back(table->name);
    }
    return names;
}

void set_simd_level(const std::string& name) {
    detail::active().store(detail::find_table(name), std::memory_order_relaxed);
}

}  // namespace kflow
