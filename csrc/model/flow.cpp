// Its twins are kflow/flow/flow_file.py, kflow/layers/replay.py and kflow/layers/subspace.py.

#include "model/flow.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <stdexcept>
#include <utility>

#include "kflow/finite.hpp"
#include "kflow/product.hpp"
#include "kflow/replay.hpp"
#include "model/preprocessing.hpp"

namespace kflow::model {
namespace {

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

std::string numbered(const char* format, Index number) {
    char name[64];
    std::snprintf(name, sizeof name, format, static_cast<long long>(number));
    return name;
}

// Columns of a matrix (rows, cols) must be orthonormal.
void check_orthonormal(const std::vector<double>& matrix, Index rows, Index cols) {
    for (Index a = 0; a < cols; ++a) {
        for (Index b = 0; b <= a; ++b) {
            double sum = a == b ? -1.0 : 0.0;
            for (Index i = 0; i < rows; ++i) {
                sum += matrix[size(i * cols + a)] * matrix[size(i * cols + b)];
            }
            if (!(std::abs(sum) < 1e-6)) {
                throw ModelError("the columns of a basis or a rotation are not orthonormal");
            }
        }
    }
}

// The coordinates (n, kept + 1) after a rotation of all but the last coordinate of points.
template <class T>
std::vector<T> turned(const std::vector<T>& points, Index n, const Block<T>& block, int n_threads) {
    const Index r = block.n_rotated, kept = block.n_moving, dropped = r - kept;
    std::vector<double> before(size(n * r)), after(before.size()), squares(size(dropped));
    for (Index i = 0; i < n; ++i) {
        std::copy_n(points.data() + i * (r + 1), r, before.data() + i * r);
    }
    product<double>({before.data(), n, r}, {block.rotation.data(), r, r}, {after.data(), n, r},
                    n_threads);
    std::vector<T> out(size(n * (kept + 1)));
    for (Index i = 0; i < n; ++i) {
        const double* row = after.data() + i * r;
        T* moving = out.data() + i * (kept + 1);
        for (Index k = 0; k < kept; ++k) {
            moving[k] = static_cast<T>(row[k]);
        }
        moving[kept] = static_cast<T>(std::hypot(static_cast<double>(points[size(i * (r + 1) + r)]),
                                                 norm(row + kept, dropped)));
    }
    return out;
}

}  // namespace

template <class T>
Profile read_kernel(const Json& settings) {
    const std::string& name = settings.at("kernel").text();
    const auto* found = std::find_if(
        std::begin(kFamilies), std::end(kFamilies),
        [&](const auto& f) { return f.argument == Argument::squared_distance && name == f.name; });
    if (found == std::end(kFamilies)) {
        throw ModelError("its kernel '" + name + "' is none that this reader knows");
    }
    Profile profile{found->family};
    if (settings.at("length_scale").type() != Json::Type::number) {
        throw ModelError(
            "its kernel has a length scale for each dimension, which this reader does "
            "not know");
    }
    profile.length_scale = settings.at("length_scale").number();
    if (found->alpha != Alpha::unused) {
        profile.alpha = settings.at("alpha").number();
    }
    if (found->degree != Degree::unused) {
        const Index dimension = settings.at("dimension").index();
        if (dimension < 1 || dimension > 1000000) {
            throw ModelError("its kernel has a dimension out of range");
        }
        profile.degree = static_cast<int>(dimension / 2 + 3);
    }
    using Limits = std::numeric_limits<T>;
    if (!(profile.length_scale >= 4.0 * std::sqrt(static_cast<double>(Limits::min())) &&
          profile.length_scale <= std::sqrt(static_cast<double>(Limits::max())) / 4.0) ||
        !(profile.alpha > 0.0 && std::isfinite(profile.alpha))) {
        throw ModelError("its kernel has a length scale or an alpha out of range");
    }
    return profile;
}

template <class T>
void check_points(MatrixView<const T> x) {
    const double most = static_cast<double>(std::numeric_limits<T>::max());
    const double largest = std::sqrt(most / (8.0 * static_cast<double>(x.cols)));
    for (Index i = 0; i < x.rows; ++i) {
        if (!all_finite<T>(x.row(i), x.cols, static_cast<T>(most / largest), 1)) {
            throw std::invalid_argument("x has a value that is not finite, or too large");
        }
    }
}

template <class T>
Flow<T>::Flow(const Archive& archive, const Json& settings)
    : profile_(read_kernel<T>(settings.at("kernel"))) {
    const Array points = archive.array("points");
    if (points.shape().size() != 2 || points.item_size() != static_cast<int>(sizeof(T))) {
        throw ModelError("points: another shape or precision");
    }
    n_coordinates_ = points.shape()[1];
    n_features_ = n_coordinates_;
    if (!settings.at("rank").is_null()) {
        const Array basis = archive.array("basis");
        if (basis.shape().size() != 2 || basis.item_size() != 8 || basis.shape()[1] < 1) {
            throw ModelError("basis: another shape or precision");
        }
        n_features_ = basis.shape()[0];
        rank_ = basis.shape()[1];
        basis_ = basis.numbers<double>();
        check_orthonormal(basis_, n_features_, rank_);
        transposed_.resize(basis_.size());
        for (Index i = 0; i < n_features_; ++i) {
            for (Index k = 0; k < rank_; ++k) {
                transposed_[size(k * n_features_ + i)] = basis_[size(i * rank_ + k)];
            }
        }
    }
    if (n_features_ < 1) {
        throw ModelError("points: no columns");
    }
    read_blocks(archive, settings);
}

template <class T>
void Flow<T>::read_blocks(const Archive& archive, const Json& settings) {
    const Array rho = archive.array("history_rho");
    n_layers_ = rho.shape().size() == 1 ? rho.shape()[0] : -1;
    const Index n_stored = settings.at("n_stored").index();
    if (n_stored != n_layers_) {
        throw ModelError("its layers were not kept, without which no other points can move");
    }
    // For each fall of the rank: the layer that comes next, and how many coordinates are kept.
    std::vector<std::pair<Index, Index>> turns;
    for (const Json& turn : settings.at("rotations").elements()) {
        if (turn.elements().size() != 2) {
            throw ModelError("its rotations are damaged");
        }
        turns.emplace_back(turn.elements()[0].index(), turn.elements()[1].index());
    }
    Index n_moving = rank_ > 0 ? rank_ : n_features_;
    std::size_t n_turned = 0;
    const auto take_turn = [&](Index layer, const Block<T>& block) {
        if (n_turned == turns.size() || turns[n_turned] != std::make_pair(layer, block.n_moving) ||
            rank_ == 0 || block.n_rotated != n_moving || block.n_moving < 1 ||
            block.n_moving >= n_moving) {
            throw ModelError("its rotations are damaged");
        }
        check_orthonormal(block.rotation, n_moving, n_moving);
        n_moving = block.n_moving;
        ++n_turned;
    };
    for (Index first = 0; first < n_stored;) {
        const std::string name = numbered("blocks/%08lld.safetensors", first);
        Block<T> block;
        try {
            block = parse_block<T>(archive.member(name));
        } catch (const ModelError& error) {
            throw ModelError(name + ": " + error.what());
        }
        if (block.n_rotated > 0) {
            take_turn(first, block);
        }
        if (block.first != first || block.n_layers > n_stored - first ||
            block.n_moving != n_moving || block.n_coordinates != n_moving + (rank_ > 0 ? 1 : 0) ||
            (!blocks_.empty() && block.flow != blocks_.front().flow)) {
            throw ModelError(name + " does not fit the blocks before it");
        }
        first += block.n_layers;
        blocks_.push_back(std::move(block));
    }
    if (n_turned < turns.size()) {  // after the last layer
        Block<T> last;
        const Array rotation =
            archive.array(numbered("rotation%06lld", static_cast<Index>(n_turned)));
        if (rotation.shape().size() != 2 || rotation.shape()[0] != rotation.shape()[1] ||
            rotation.item_size() != 8) {
            throw ModelError("its rotations are damaged");
        }
        last.n_rotated = rotation.shape()[0];
        last.rotation = rotation.numbers<double>();
        last.n_moving = turns[n_turned].second;
        take_turn(n_stored, last);
        blocks_.push_back(std::move(last));
    }
    if (n_turned < turns.size() || n_coordinates_ != n_moving + (rank_ > 0 ? 1 : 0)) {
        throw ModelError("its points do not fit its layers");
    }
}

template <class T>
std::vector<T> Flow<T>::first_coordinates(MatrixView<const T> x, int n_threads) const {
    const Index n = x.rows, d = n_features_, r = rank_;
    std::vector<T> out;
    if (r == 0) {
        for (Index i = 0; i < n; ++i) {
            out.insert(out.end(), x.row(i), x.row(i) + d);
        }
        check_points<T>({out.data(), n, d});
        return out;
    }
    out.resize(size(n * (r + 1)));
    std::vector<double> points, inside(size(n * r)), back(size(n * d));
    for (Index i = 0; i < n; ++i) {
        points.insert(points.end(), x.row(i), x.row(i) + d);
    }
    if (!all_finite<double>(points.data(), n * d, 1.0, 1)) {
        throw std::invalid_argument("x has a value that is not finite, or too large");
    }
    product<double>({points.data(), n, d}, {basis_.data(), d, r}, {inside.data(), n, r}, n_threads);
    product<double>({inside.data(), n, r}, {transposed_.data(), r, d}, {back.data(), n, d},
                    n_threads);
    for (Index i = 0; i < n; ++i) {
        T* row = out.data() + i * (r + 1);
        for (Index k = 0; k < r; ++k) {
            row[k] = static_cast<T>(inside[size(i * r + k)]);
        }
        double* outside = points.data() + i * d;
        for (Index k = 0; k < d; ++k) {
            outside[k] -= back[size(i * d + k)];
        }
        row[r] = static_cast<T>(norm(outside, d));
    }
    return out;
}

template <class T>
std::vector<T> Flow<T>::moved(MatrixView<const T> x, int n_threads) const {
    std::vector<T> points = first_coordinates(x, n_threads);
    Index k = rank_ > 0 ? rank_ + 1 : n_features_;
    for (const Block<T>& block : blocks_) {
        if (block.n_rotated > 0) {
            points = turned(points, x.rows, block, n_threads);
            k = block.n_moving + 1;
        }
        replay<T>({points.data(), x.rows, k}, block.layers(), profile_, n_threads);
    }
    return points;
}

template Profile read_kernel<float>(const Json&);
template Profile read_kernel<double>(const Json&);
template void check_points(MatrixView<const float>);
template void check_points(MatrixView<const double>);
template class Flow<float>;
template class Flow<double>;

}  // namespace kflow::model
