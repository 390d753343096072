#pragma once

// The only file that starts teams of threads.

#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "kflow/matrix_view.hpp"
#include "kflow/runtime.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

// ThreadSanitizer does not see how OpenMP's threads wait for each other: it gets threads of the
// standard library.
#ifdef __SANITIZE_THREAD__
#define KFLOW_STANDARD_THREADS
#endif

namespace kflow::detail {

/// Remembers that this process has run a team; see kflow::forked_after_team().
void note_team();
bool may_start_team();

/// The size of the largest team up to `wanted` for which threads can be started: one, if none can.
int team_to_be_had(int wanted);

/// Keeps the first exception of several threads.
class FirstError {
   public:
    template <class Body>
    void guard(Body&& body) {
        try {
            body();
        } catch (...) {
            const std::lock_guard<std::mutex> lock(mutex_);
            if (!error_) {
                error_ = std::current_exception();
            }
        }
    }
    void rethrow() const {
        if (error_) {
            std::rethrow_exception(error_);
        }
    }

   private:
    std::mutex mutex_;
    std::exception_ptr error_;
};

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
/// Where threads cannot be started there are fewer workers, or the calling thread alone.
template <class Body>
void parallel_for(Index n_tasks, int n_threads, Body&& body) {
    const int wanted = static_cast<int>(n_threads < n_tasks ? n_threads : n_tasks);
#if defined(KFLOW_STANDARD_THREADS)
    if (wanted > 1) {
        FirstError error;
        std::atomic<Index> next{0};
        const auto work = [&](int worker) {
            for (Index task = next++; task < n_tasks; task = next++) {
                error.guard([&] { body(task, worker); });
            }
        };
        std::vector<std::thread> others;
        for (int worker = 1; worker < wanted; ++worker) {
            others.emplace_back(work, worker);
        }
        work(0);
        for (std::thread& other : others) {
            other.join();
        }
        error.rethrow();
        return;
    }
#elif defined(_OPENMP)
    if (wanted > 1 && !omp_in_parallel() && may_start_team()) {
        if (const int team = team_to_be_had(wanted); team > 1) {
            note_team();
            FirstError error;
#pragma omp parallel for schedule(dynamic, 1) num_threads(team)
            for (Index task = 0; task < n_tasks; ++task) {
                error.guard([&] { body(task, omp_get_thread_num()); });
            }
            error.rethrow();
            return;
        }
    }
#else
    (void)wanted;
#endif
    for (Index task = 0; task < n_tasks; ++task) {
        body(task, 0);
    }
}

}  // namespace kflow::detail
