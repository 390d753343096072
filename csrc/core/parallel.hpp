#pragma once

// The only file that starts threads.

#include <exception>
#include <mutex>

#include "kflow/matrix_view.hpp"
#include "kflow/runtime.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace kflow::detail {

/// Remembers that this process has run a team; see kflow::forked_after_team().
void note_team();
bool may_start_team();

/// The cost of one value of a profile, in multiply-adds.
constexpr double kProfileWork = 16.0;

/// The number of threads that are worth starting for this many multiply-adds; see
/// kflow::set_team_threshold().
inline int team_for(double multiply_adds, int n_threads) {
    return multiply_adds < team_threshold() ? 1 : n_threads;
}

/// Calls body(task, worker) for every task in [0, n_tasks), worker in [0, n_threads).
/// Tasks must be independent of each other: their distribution over workers is not fixed.
/// The first exception of a task is thrown to the caller. Nested calls run on the calling thread.
template <class Body>
void parallel_for(Index n_tasks, int n_threads, Body&& body) {
#ifdef _OPENMP
    const int team = static_cast<int>(n_threads < n_tasks ? n_threads : n_tasks);
    if (team > 1 && !omp_in_parallel() && may_start_team()) {
        note_team();
        std::exception_ptr error;
        std::mutex error_mutex;
#pragma omp parallel for schedule(dynamic, 1) num_threads(team)
        for (Index task = 0; task < n_tasks; ++task) {
            try {
                body(task, omp_get_thread_num());
            } catch (...) {
                const std::lock_guard<std::mutex> lock(error_mutex);
                if (!error) {
                    error = std::current_exception();
                }
            }
        }
        if (error) {
            std::rethrow_exception(error);
        }
        return;
    }
#else
    (void)n_threads;
#endif
    for (Index task = 0; task < n_tasks; ++task) {
        body(task, 0);
    }
}

}  // namespace kflow::detail
