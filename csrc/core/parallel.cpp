#include "core/parallel.hpp"

#include <atomic>

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

}  // namespace

void note_team() {
    team_started = true;
    team_process.store(process_id(), std::memory_order_relaxed);
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
