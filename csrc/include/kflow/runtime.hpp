#pragma once

#include <string>
#include <vector>

namespace kflow {

/// The instruction set in use: "baseline", "avx2", "avx512" or "neon". Chosen on first use as the
/// best that the processor and the operating system support, or as KFLOW_SIMD_LEVEL says.
std::string simd_level();

/// Levels that this build contains and this processor runs, slowest first.
std::vector<std::string> simd_levels();

/// Throws std::invalid_argument, naming the choices, for a level that is not in simd_levels().
void set_simd_level(const std::string& name);

/// "openmp" or "serial".
const char* parallel_backend();

/// Upper bound that the OpenMP runtime puts on a team started by the calling thread.
int max_team_size();

/// Work, in multiply-adds, under which a loop runs on one thread: about a third of a millisecond. A
/// team costs microseconds, but on a busy machine it waits for its slowest member, and short calls
/// should not. Results do not depend on it; tests set it to 0 to have teams everywhere.
double team_threshold();
void set_team_threshold(double multiply_adds);

/// Ends the calling thread's team when the outermost lease does. Idle OpenMP threads otherwise spin
/// for milliseconds, which slows down other threads. Starting a team anew takes from a
/// tenth of a millisecond to ten, if a processor has to be woken: a lease is for a whole flow.
class TeamLease {
   public:
    TeamLease();
    ~TeamLease();
    TeamLease(const TeamLease&) = delete;
    TeamLease& operator=(const TeamLease&) = delete;
};

/// True in a child forked after the parent ran a team: such a child computes on one thread,
/// because the parent's OpenMP pool does not exist in it.
bool forked_after_team();

}  // namespace kflow
