#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>

#include "check.hpp"
#include "kflow/gram.hpp"
#include "kflow/runtime.hpp"
#include "matrix.hpp"

using namespace kflow;
using namespace kflow::test;

namespace {

// To be called before anything else has chosen a level.
void the_environment_chooses() {
    setenv("KFLOW_SIMD_LEVEL", "abacus", 1);
    CHECK_THROWS(simd_level(), std::invalid_argument,
                 std::strstr(error.what(), "baseline") != nullptr);
    setenv("KFLOW_SIMD_LEVEL", "baseline", 1);
    CHECK(simd_level() == "baseline");
}

void levels() {
    CHECK(!simd_levels().empty());
    CHECK(simd_levels().front() == "baseline");
    for (const std::string& level : simd_levels()) {
        set_simd_level(level);
        CHECK(simd_level() == level);
    }
    const std::string before = simd_level();
    for (const char* name : {"", "abacus", "AVX2", "avx2 "}) {
        CHECK_THROWS(set_simd_level(name), std::invalid_argument,
                     std::strstr(error.what(), "baseline") != nullptr);
    }
    CHECK(simd_level() == before);
}

void threads() {
    CHECK(max_team_size() >= 1);
    CHECK(std::string(parallel_backend()) == "openmp" ||
          (std::string(parallel_backend()) == "serial" && max_team_size() == 1));
}

// The runtime's threads do not exist in a forked child, which would wait for them for ever.
void a_forked_child_computes() {
    const Matrix<float> x = random_matrix<float>(1500, 9, 1);
    const auto compute = [&] {
        Matrix<float> out(x.rows(), x.rows());
        gram<float>(x.view(), x.view(), {}, out.view(), 4);
        return out;
    };
    const Matrix<float> expected = compute();
    CHECK(!forked_after_team());
    const pid_t child = fork();
    if (child == 0) {
        alarm(60);
        const bool flagged = forked_after_team() == (std::string(parallel_backend()) == "openmp");
        _exit(flagged && compute() == expected ? 0 : 1);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(compute() == expected);
}

// Where the address space has no room for another thread's stack, work is done without one: the
// runtime itself would end the process.
void without_threads_one_computes() {
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)  // they need much address space
    const Matrix<float> x = random_matrix<float>(1500, 9, 1);
    Matrix<float> expected(x.rows(), x.rows()), out(x.rows(), x.rows());
    gram<float>(x.view(), x.view(), {}, expected.view(), 1);
    const pid_t child = fork();
    if (child == 0) {
        alarm(60);
        std::size_t pages = 0;
        std::ifstream("/proc/self/statm") >> pages;
        const rlim_t space = pages * static_cast<std::size_t>(getpagesize()) + (4 << 20);
        const rlimit limit{space, RLIM_INFINITY};
        setrlimit(RLIMIT_AS, &limit);
        gram<float>(x.view(), x.view(), {}, out.view(), 4);
        _exit(out == expected ? 0 : 1);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
#endif
}

}  // namespace

int main() {
    the_environment_chooses();
    levels();
    threads();
    without_threads_one_computes();
    a_forked_child_computes();
    return result();
}
