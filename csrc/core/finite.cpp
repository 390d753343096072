#include "kflow/finite.hpp"

#include <algorithm>
#include <atomic>

#include "core/parallel.hpp"
#include "core/simd_table.hpp"

namespace kflow {

template <class T>
bool all_finite(const T* x, Index n, T factor, int n_threads) {
    constexpr Index kBlock = 1 << 16;
    const Index n_blocks = (n + kBlock - 1) / kBlock;
    std::atomic<bool> finite{true};
    // Reading memory is what takes time: an element costs as much as several multiply-adds.
    const int team = detail::team_for(8.0 * static_cast<double>(n), n_threads);
    detail::parallel_for(n_blocks, team, [&](Index block, int) {
        const Index first = block * kBlock;
        if (!detail::simd().get<T>().all_finite(x + first, std::min(kBlock, n - first), factor)) {
            finite.store(false, std::memory_order_relaxed);
        }
    });
    return finite.load();
}

template bool all_finite(const float*, Index, float, int);
template bool all_finite(const double*, Index, double, int);

}  // namespace kflow
