#include <limits>
#include <string>

#include "check.hpp"
#include "kflow/product.hpp"
#include "naive.hpp"

using namespace kflow;
using namespace kflow::test;

namespace {

template <class T>
void against_definition(Index n, Index d, Index q) {
    const Scope scope(std::to_string(n) + " " + std::to_string(d) + " " + std::to_string(q));
    const Matrix<T> x = random_matrix<T>(n, d, 1), a = random_matrix<T>(d, q, 2);
    const naive::Reals expected = naive::product(cast<long double>(x), cast<long double>(a));
    Matrix<T> out(n, q, T(-7));
    product<T>(x.view(), a.view(), out.view(), 2);
    const auto epsilon = static_cast<long double>(std::numeric_limits<T>::epsilon());
    CHECK(distance(out, expected) <= 16 * epsilon * static_cast<long double>(d + 1));
    for (Index i = 0; i < n; i += 7) {  // a row alone, to the last bit
        Matrix<T> row(1, d), alone(1, q);
        std::copy_n(x.view().row(i), d, row.data());
        const Matrix<T>& given = row;
        product<T>(given.view(), a.view(), alone.view(), 1);
        for (Index k = 0; k < q; ++k) {
            CHECK(alone(0, k) == out(i, k));
        }
    }
}

}  // namespace

int main() {
    for_each_precision([](auto zero) {
        using T = decltype(zero);
        for_each_level([] {
            for (Index n : {0, 1, 33, 200}) {
                for (Index d : {1, 5, 64}) {
                    for (Index q : {1, 13, 40}) {
                        against_definition<T>(n, d, q);
                    }
                }
            }
        });
    });
    return result();
}
