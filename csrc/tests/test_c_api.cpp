// What calls from Python cannot show: the header in C, and that nothing is thrown. The results of
// all functions are compared with those of Python in tests/test_c_api.py.

#include <cstring>

#include "check.hpp"
#include "kflow.h"
#include "kflow/gram.hpp"
#include "matrix.hpp"

using namespace kflow;
using namespace kflow::test;

extern "C" int gram_in_c(const double* x, ptrdiff_t n, ptrdiff_t d, double* out);

namespace {

void from_c() {
    Matrix<double> x = random_matrix<double>(9, 4, 1);
    Matrix<double> expected(9, 9), out(9, 9);
    const MatrixView<const double> view = x.view();
    gram<double>(view, view, {Family::gaussian, 2.0}, expected.view(), 1);
    CHECK(gram_in_c(x.data(), 9, 4, out.data()) == KFLOW_OK);
    CHECK(out == expected);
}

void a_message_ends() {
    const kflow_api& api = *kflow_get_api();
    kflow_error error;
    std::memset(&error, 'x', sizeof error);
    double number = 0.0, out = 0.0;
    CHECK(api.gram_f64(nullptr, &number, 1, &number, 1, 1, &out, 1, &error) ==
          KFLOW_INVALID_ARGUMENT);
    CHECK(std::memchr(error.message, '\0', sizeof error.message) != nullptr);
    CHECK(error.first == -1 && error.second == -1);
    // Without a place for it.
    CHECK(api.gram_f64(nullptr, &number, 1, &number, 1, 1, &out, 1, nullptr) ==
          KFLOW_INVALID_ARGUMENT);
}

}  // namespace

int main() {
    from_c();
    a_message_ends();
    return result();
}
