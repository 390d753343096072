#pragma once

// The whole test framework. A test is a program: CHECK reports what does not hold and goes on, and
// main returns result().

#include <cstdio>
#include <string>
#include <vector>

#include "kflow/runtime.hpp"

namespace kflow::test {

struct State {
    long checks = 0, failures = 0;
    std::vector<std::string> scopes;
};

inline State& state() {
    static State instance;
    return instance;
}

/// Names what the checks below it are about, such as an instruction set or a shape.
class Scope {
   public:
    explicit Scope(std::string name) { state().scopes.push_back(std::move(name)); }
    ~Scope() { state().scopes.pop_back(); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
};

inline void check(bool holds, const char* claim, const char* file, int line) {
    constexpr long kMostReports = 20;
    ++state().checks;
    if (holds || ++state().failures > kMostReports) {
        return;
    }
    std::fprintf(stderr, "%s:%d: %s", file, line, claim);
    for (const std::string& scope : state().scopes) {
        std::fprintf(stderr, " | %s", scope.c_str());
    }
    std::fputc('\n', stderr);
}

/// The exit status of the program.
inline int result() {
    std::printf("%ld checks, %ld failures\n", state().checks, state().failures);
    return state().checks > 0 && state().failures == 0 ? 0 : 1;
}

/// Runs the body at every SIMD level, with teams for the smallest work.
template <class Body>
void for_each_level(Body&& body) {
    set_team_threshold(0.0);
    for (const std::string& level : simd_levels()) {
        const Scope scope(level);
        set_simd_level(level);
        body();
    }
}

/// body(T()) for both precisions.
template <class Body>
void for_each_precision(Body&& body) {
    {
        const Scope scope("float");
        body(float());
    }
    const Scope scope("double");
    body(double());
}

}  // namespace kflow::test

#define CHECK(claim) ::kflow::test::check(static_cast<bool>(claim), #claim, __FILE__, __LINE__)

/// The statement throws the type; `error` is the exception inside `what_holds`.
#define CHECK_THROWS(statement, type, what_holds)                                      \
    do {                                                                               \
        bool thrown = false;                                                           \
        try {                                                                          \
            statement;                                                                 \
        } catch (const type& error) {                                                  \
            thrown = true;                                                             \
            CHECK(what_holds);                                                         \
        }                                                                              \
        ::kflow::test::check(thrown, #statement " throws " #type, __FILE__, __LINE__); \
    } while (false)
