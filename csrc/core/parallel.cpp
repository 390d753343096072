#include "core/parallel.hpp"

#include <atomic>
#include <condition_variable>
#include <system_error>
#include <thread>
#include <vector>

#include "kflow/runtime.hpp"

#ifndef _WIN32
#include <unistd.h>
#endif

namespace kflow {
namespace detail {
namespace {

#ifdef _WIN32
long process_id() { return 1; }  // no fork there
#else
long process_id() { return static_cast<long>(getpid()); }
#endif

std::atomic<long> team_process{0};
std::atomic<double> threshold{2e7};

thread_local int leases = 0;
thread_local bool team_started = false;
// The size of the largest team that the calling thread could start.
thread_local int startable = 1;

// How many of n threads can run at one time, found out by starting them.
int threads_to_be_had(int n) {
    std::vector<std::thread> threads;
    std::mutex mutex;
    std::condition_variable all_there;
    bool done = false;
    try {
        threads.reserve(static_cast<std::size_t>(n));
        while (static_cast<int>(threads.size()) < n) {
            threads.emplace_back([&] {
                std::unique_lock<std::mutex> lock(mutex);
                all_there.wait(lock, [&] { return done; });
            });
        }
    } catch (const std::system_error&) {  // no thread more, or no memory for it
    } catch (const std::bad_alloc&) {
    }
    {
        const std::lock_guard<std::mutex> lock(mutex);
        done = true;
    }
    all_there.notify_all();
    for (std::thread& thread : threads) {
        thread.join();
    }
    return static_cast<int>(threads.size());
}

}  // namespace

void note_team() {
    team_started = true;
    team_process.store(process_id(), std::memory_order_relaxed);
}

// libgomp ends the process if it cannot start a thread. The threads that it has stay, so that only
// further ones are tried.
int team_to_be_had(int wanted) {
    if (wanted > startable) {
        startable += threads_to_be_had(wanted - startable);
    }
    return wanted < startable ? wanted : startable;
}

// libgomp hangs in a child that starts a team after its parent did: the pool's threads are gone.
bool may_start_team() { return !forked_after_team(); }

}  // namespace detail

TeamLease::TeamLease() { ++detail::leases; }

TeamLease::~TeamLease() {
    // A forked child inherits the record of a team, but not its threads.
    if (--detail::leases > 0 || !detail::team_started || forked_after_team()) {
        return;
    }
    detail::team_started = false;
    detail::startable = 1;
#if defined(_OPENMP) && (_OPENMP >= 201811 || __GNUC__ >= 9)  // GCC has it, and says 4.5
    omp_pause_resource_all(omp_pause_soft);
#endif
}

double team_threshold() { return detail::threshold.load(std::memory_order_relaxed); }
void set_team_threshold(double multiply_adds) {
    detail::threshold.store(multiply_adds, std::memory_order_relaxed);
}

bool forked_after_team() {
    const long process = detail::team_process.load(std::memory_order_relaxed);
    return process != 0 && process != detail::process_id();
}

#ifdef _OPENMP
const char* parallel_backend() { return "openmp"; }
int max_team_size() { return omp_get_max_threads(); }
#else
const char* parallel_backend() { return "serial"; }
int max_team_size() { return 1; }
#endif

}  // namespace kflow
