// Its twin is kflow/data/scaling.py.

#include "model/preprocessing.hpp"

#include <algorithm>
#include <cmath>

#include "kflow/product.hpp"

namespace kflow::model {
namespace {

// NumPy's sum of contiguous numbers. Source: NumPy's pairwise summation, as the notes of numpy.sum
// describe it: eight sums side by side for up to 128 numbers, halves of more.
template <class T, class Element>
T pairwise_sum(Element element, Index first, Index n) {
    if (n < 8) {
        T sum = T(0);
        for (Index i = 0; i < n; ++i) {
            sum += element(first + i);
        }
        return sum;
    }
    if (n <= 128) {
        T sums[8];
        for (Index k = 0; k < 8; ++k) {
            sums[k] = element(first + k);
        }
        Index i = 8;
        for (; i < n - n % 8; i += 8) {
            for (Index k = 0; k < 8; ++k) {
                sums[k] += element(first + i + k);
            }
        }
        T sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])) +
                ((sums[4] + sums[5]) + (sums[6] + sums[7]));
        for (; i < n; ++i) {
            sum += element(first + i);
        }
        return sum;
    }
    const Index half = n / 2 - n / 2 % 8;
    return pairwise_sum<T>(element, first, half) + pairwise_sum<T>(element, first + half, n - half);
}

std::vector<double> numbers(const Archive& archive, const std::string& name,
                            const std::vector<Index>& shape) {
    const Array array = archive.array(name);
    if (!array.has_shape(shape) || array.item_size() != 8) {
        throw ModelError(name + " does not fit the features");
    }
    return array.numbers<double>();
}

}  // namespace

template <class T>
T norm(const T* x, Index n) {
    return std::sqrt(pairwise_sum<T>([x](Index i) { return x[i] * x[i]; }, 0, n));
}

Preprocessing::Preprocessing(const Archive& archive, Index n_features) {
    unit_ = archive.array("preprocessing_unit").texts().at(0) == "True";
    const bool has_mean = archive.has_array("preprocessing_mean");
    if (has_mean != archive.has_array("preprocessing_scale")) {
        throw ModelError("preprocessing_mean and preprocessing_scale belong together");
    }
    if (has_mean) {
        mean_ = numbers(archive, "preprocessing_mean", {n_features});
        scale_ = numbers(archive, "preprocessing_scale", {n_features});
        if (!std::all_of(scale_.begin(), scale_.end(), [](double s) { return s > 0.0; })) {
            throw ModelError("preprocessing_scale is not positive");
        }
    }
    if (archive.has_array("preprocessing_components")) {
        const auto rows = numbers(archive, "preprocessing_components", {n_features, n_features});
        components_.resize(rows.size());
        for (Index i = 0; i < n_features; ++i) {
            for (Index k = 0; k < n_features; ++k) {
                components_[static_cast<std::size_t>(k * n_features + i)] =
                    rows[static_cast<std::size_t>(i * n_features + k)];
            }
        }
    }
}

template <class T>
void Preprocessing::operator()(MatrixView<T> x, int n_threads) const {
    const Index d = x.cols;
    if (mean_.empty() && !unit_ && components_.empty()) {
        return;
    }
    std::vector<double> scaled;
    for (Index i = 0; i < x.rows; ++i) {
        const T* row = x.row(i);
        const T length = unit_ ? norm(row, d) : T(1);
        for (Index k = 0; k < d; ++k) {
            const auto at = static_cast<std::size_t>(k);
            const T value = length > T(0) ? row[k] / length : row[k];
            scaled.push_back(mean_.empty() ? static_cast<double>(value)
                                           : (static_cast<double>(value) - mean_[at]) / scale_[at]);
        }
    }
    if (!components_.empty()) {
        std::vector<double> mapped(scaled.size());
        product<double>({scaled.data(), x.rows, d}, {components_.data(), d, d},
                        {mapped.data(), x.rows, d}, n_threads);
        scaled.swap(mapped);
    }
    for (Index i = 0; i < x.rows; ++i) {
        std::transform(scaled.data() + i * d, scaled.data() + (i + 1) * d, x.row(i),
                       [](double value) { return static_cast<T>(value); });
    }
}

template float norm(const float*, Index);
template double norm(const double*, Index);
template void Preprocessing::operator()(MatrixView<float>, int) const;
template void Preprocessing::operator()(MatrixView<double>, int) const;

}  // namespace kflow::model
