// Rows whose elements are more than 2^32 apart: no index may be computed in 32 bits.

#include <sys/mman.h>

#include <cstdio>
#include <vector>

#include "check.hpp"
#include "kflow/apply.hpp"
#include "kflow/gram.hpp"
#include "kflow/layer.hpp"
#include "kflow/replay.hpp"
#include "kflow/scattering.hpp"
#include "matrix.hpp"

using namespace kflow;
using namespace kflow::test;

namespace {

constexpr Index kRows = 4200, kColumns = 9, kStride = Index(1) << 20, kBatch = 20;
static_assert(kRows * kStride > (Index(1) << 32));

/// A matrix with far more memory between its rows than the machine has, which is never touched.
template <class T>
class Sparse {
   public:
    explicit Sparse(const Matrix<T>& content) : content_(content) {
        void* memory = mmap(nullptr, bytes(), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        data_ = memory == MAP_FAILED ? nullptr : static_cast<T*>(memory);
        for (Index i = 0; data_ != nullptr && i < content.rows(); ++i) {
            for (Index k = 0; k < content.cols(); ++k) {
                view().row(i)[k] = content(i, k);
            }
        }
    }
    ~Sparse() {
        if (data_ != nullptr) {
            munmap(data_, bytes());
        }
    }
    Sparse(const Sparse&) = delete;
    Sparse& operator=(const Sparse&) = delete;

    bool there() const { return data_ != nullptr; }
    MatrixView<T> view() { return {data_, content_.rows(), content_.cols(), kStride}; }
    MatrixView<const T> read() { return {data_, content_.rows(), content_.cols(), kStride}; }
    bool operator==(const Matrix<T>& other) {
        for (Index i = 0; i < other.rows(); ++i) {
            for (Index k = 0; k < other.cols(); ++k) {
                if (view().row(i)[k] != other(i, k)) {
                    return false;
                }
            }
        }
        return true;
    }

   private:
    std::size_t bytes() const { return static_cast<std::size_t>(kRows * kStride) * sizeof(T); }
    const Matrix<T>& content_;
    T* data_;
};

void operators(const Matrix<float>& x, Sparse<float>& far) {
    const Profile profile{Family::gaussian, 3.0};
    const Matrix<float> z = random_matrix<float>(kBatch, kColumns, 2);
    const Matrix<float> c = random_matrix<float>(kBatch, kColumns, 3);
    Matrix<float> near_gram(kRows, kBatch), far_gram(kRows, kBatch);
    gram<float>(x.view(), z.view(), profile, near_gram.view(), 2);
    gram<float>(far.read(), z.view(), profile, far_gram.view(), 2);
    CHECK(near_gram == far_gram);

    Matrix<float> moved(kRows, kColumns);
    apply<float>(x.view(), z.view(), c.view(), profile, 0.5, x.view(), moved.view(), 2);
    Sparse<float> result(x);
    apply<float>(far.read(), z.view(), c.view(), profile, 0.5, far.read(), result.view(), 2);
    CHECK(result == moved);
    replay<float>(result.view(), {{z.view(), c.view(), 0.1}}, profile, 2);
    replay<float>(moved.view(), {{z.view(), c.view(), 0.1}}, profile, 2);
    CHECK(result == moved);
}

void layers(const Matrix<float>& x) {
    Matrix<float> points = x, displacement = random_matrix<float>(kRows, kColumns, 4, 0.1);
    const Matrix<float> first = displacement;
    Sparse<float> far_points(x), far_displacement(first);
    const Matrix<double> y = random_matrix<double>(kRows, 2, 5);
    std::vector<Index> batch;
    for (Index i = 0; i < kBatch; ++i) {
        batch.push_back(kRows - 1 - 7 * i);
    }
    LayerOptions options;
    options.profile.length_scale = 3.0;
    options.nugget = 0.1;
    options.n_coarse = kBatch / 2;
    Batch workspace;
    const auto run = [&](MovingPoints<float> set) {
        Matrix<float> z(kBatch, kColumns), c(kBatch, kColumns);
        const LayerReport report =
            flow_layer<float>({set}, 0.5, y.view(), nullptr, batch.data(), kBatch, nullptr, options,
                              z.view(), c.view(), workspace, 2);
        settle<float>(set, report.step, 2);
        return report.step;
    };
    const double step = run({points.view(), displacement.view()});
    CHECK(run({far_points.view(), far_displacement.view()}) == step);
    CHECK(far_points == points);
    CHECK(far_displacement == displacement);
}

void scattering() {
    constexpr Index side = 4, pixels = side * side;
    ScatteringFilters<float> f{};
    f.height = f.width = f.rows = f.cols = side;
    f.row_of = f.col_of = {0, 1, 2, 3};
    f.n_scales = f.n_angles = f.max_order = 1;
    f.out_height = f.out_width = 2;
    f.waves = {std::vector<float>(pixels, 0.5F)};
    f.smooth_rows = f.smooth_cols = {std::vector<float>(2 * side, 0.25F)};
    const Scattering<float> transform(f);
    const Matrix<float> x = random_matrix<float>(kRows, pixels, 6);
    Matrix<float> features(kRows, 8), gradients(kRows, pixels);
    transform.transform(x.view(), features.view(), 2);
    transform.pull_back(x.view(), features.view(), gradients.view(), 2);
    const Matrix<float> empty(kRows, 8);
    Sparse<float> far(x), far_features(empty), far_gradients(x);
    transform.transform(far.read(), far_features.view(), 2);
    CHECK(far_features == features);
    transform.pull_back(far.read(), far_features.read(), far_gradients.view(), 2);
    CHECK(far_gradients == gradients);
}

}  // namespace

int main() {
    const Matrix<float> x = random_matrix<float>(kRows, kColumns, 1);
    Sparse<float> far(x);
    if (!far.there()) {
        std::puts("skipped: the system gives no address space");
        return 0;
    }
    operators(x, far);
    layers(x);
    scattering();
    return result();
}
