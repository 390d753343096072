#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "kflow/apply.hpp"
#include "kflow/replay.hpp"
#include "naive.hpp"

using namespace kflow;
using namespace kflow::test;

namespace {

/// Layers of different sizes.
template <class T>
struct Stack {
    std::vector<Matrix<T>> z, c;

    Stack(Index d, Index q, const std::vector<Index>& sizes) {
        unsigned seed = 5;
        for (Index m : sizes) {
            z.push_back(random_matrix<T>(m, d, seed++));
            c.push_back(random_matrix<T>(m, q, seed++));
        }
    }

    std::vector<Layer<T>> layers() const {
        std::vector<Layer<T>> out;
        for (std::size_t l = 0; l < z.size(); ++l) {
            out.push_back({z[l].view(), c[l].view(), 0.01 * static_cast<double>(l)});
        }
        return out;
    }
};

// As one layer after the other by apply(), to the last bit.
template <class T>
void layer_by_layer(Index d, Index q) {
    const Scope scope("d " + std::to_string(d) + " q " + std::to_string(q));
    const Stack<T> stack(d, q, {31, 0, 7, 31, 64});
    for (const Profile& profile : naive::radial_profiles(2.0)) {
        for (Index n : {0, 1, 300}) {
            Matrix<T> x = random_matrix<T>(n, d, 1), expected = x;
            for (const Layer<T>& layer : stack.layers()) {
                const MatrixView<T> moving(expected.data(), n, q, d);
                const Matrix<T>& before = expected;
                apply<T>(before.view(), layer.z, layer.c, profile, layer.step, moving, moving, 1);
            }
            replay(x.view(), stack.layers(), profile, 2);
            CHECK(x == expected);
        }
    }
}

// More than go together, and whatever other points there are.
template <class T>
void many_layers() {
    const Stack<T> stack(40, 39, std::vector<Index>(30, 700));
    const Profile profile{Family::gaussian, 6.0, 1.0};
    const Matrix<T> start = random_matrix<T>(40, 40, 1);
    Matrix<T> together = start, threads = start;
    replay(together.view(), stack.layers(), profile, 1);
    replay(threads.view(), stack.layers(), profile, 3);
    CHECK(threads == together);
    for (Index i : {0, 39}) {
        Matrix<T> alone(1, 40);
        std::copy_n(start.view().row(i), 40, alone.data());
        replay(alone.view(), stack.layers(), profile, 1);
        for (Index k = 0; k < 40; ++k) {
            CHECK(alone(0, k) == together(i, k));
        }
    }
}

// A layer that does not move is not looked at.
template <class T>
void no_step() {
    Matrix<T> x = random_matrix<T>(9, 4, 1);
    const Matrix<T> before = x, z = random_matrix<T>(3, 4, 2);
    const Matrix<T> c(3, 4, std::numeric_limits<T>::quiet_NaN());
    replay<T>(x.view(), {{z.view(), c.view(), 0.0}}, {}, 1);
    replay<T>(x.view(), {}, {}, 1);
    CHECK(x == before);
}

}  // namespace

int main() {
    for_each_precision([](auto zero) {
        using T = decltype(zero);
        for_each_level([] {
            for (Index d : {1, 3, 5, 33}) {
                layer_by_layer<T>(d, d);
                layer_by_layer<T>(d, d > 1 ? d - 1 : d);
            }
            many_layers<T>();
            no_step<T>();
        });
    });
    return result();
}
