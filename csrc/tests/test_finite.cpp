#include <limits>
#include <vector>

#include "check.hpp"
#include "kflow/finite.hpp"

namespace {

using namespace kflow;

template <class T>
void one_bad_number_anywhere_is_found() {
    for (const Index n : {0, 1, 3, 17, 64, 131, 70001}) {
        std::vector<T> x(static_cast<std::size_t>(n), std::numeric_limits<T>::max());
        CHECK(all_finite(x.data(), n, T(1), 1));
        CHECK(all_finite(x.data(), n, T(1), 3));
        CHECK(all_finite(x.data(), n, T(2), 1) == (n == 0));
        for (Index at = 0; at < n; at += n > 1000 ? 997 : 1) {
            for (const T bad :
                 {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity(),
                  -std::numeric_limits<T>::infinity()}) {
                T& place = x[static_cast<std::size_t>(at)];
                place = bad;
                CHECK(!all_finite(x.data(), n, T(1), 2));
                place = T(0);
            }
        }
    }
}

}  // namespace

int main() {
    kflow::test::for_each_level([] {
        one_bad_number_anywhere_is_found<float>();
        one_bad_number_anywhere_is_found<double>();
    });
    return kflow::test::result();
}
