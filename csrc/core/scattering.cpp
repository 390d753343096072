#include "kflow/scattering.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "core/aligned.hpp"
#include "core/fourier.hpp"
#include "core/parallel.hpp"
#include "core/simd_table.hpp"

namespace kflow {
namespace detail {

template <class T>
struct ScatteringPlan {
    ScatteringFilters<T> filters;
    std::vector<Fourier<T>> down, along;  // of each level
    std::vector<std::vector<T>> smooth_rows_transposed, smooth_cols_transposed;
};

}  // namespace detail

namespace {

using detail::AlignedVector;
using detail::ScatteringPlan;

Index channels(Index J, Index L, Index max_order) {
    return 1 + J * L + (max_order > 1 ? J * (J - 1) / 2 * L * L : 0);
}

/// The first scale whose wavelets are stored at a level.
Index first_scale(Index level) { return level == 0 ? 0 : level + 1; }

void require(bool holds, const char* what) {
    if (!holds) {
        throw std::invalid_argument(what);
    }
}

template <class T>
bool has_size(const std::vector<T>& values, Index n) {
    return static_cast<Index>(values.size()) == n;
}

template <class T>
T* first(AlignedVector<T>& memory, Index size) {
    if (static_cast<Index>(memory.size()) < size) {
        memory.resize(static_cast<std::size_t>(size));
    }
    return memory.data();
}

/// Memory of one thread; one element for each name stands for a register of images.
template <class T>
struct Scratch {
    AlignedVector<T> pixels, norms, features, covectors, gradient;
    AlignedVector<T> image, spectrum, wave, map, map_spectrum, second, second_map, mixed, fourier;
    AlignedVector<T> image_gradient, spectrum_gradient, map_gradient, map_spectrum_gradient;
};

/// The transform of as many images as a register has lanes.
template <class T>
class Lanes {
   public:
    Lanes(const ScatteringPlan<T>& plan, const detail::SimdRoutines<T>& routines,
          Scratch<T>& scratch)
        : plan_(plan),
          f_(plan.filters),
          routines_(routines),
          scratch_(scratch),
          L_(routines.lanes) {}

    /// `pixels` and `features` are the halves of panels: their elements are a panel apart.
    void transform(const T* pixels, T* features) {
        load_image(pixels);
        T* out = features;
        smooth(image(), 0, out);
        spectrum_of(image(), 0, spectrum());
        T* second_out = feature(out, channels(f_.n_scales, f_.n_angles, 1));
        for (Index j = 0; j < f_.n_scales; ++j) {
            for (Index angle = 0; angle < f_.n_angles; ++angle) {
                T* map = first(scratch_.map, elements(j) * L_);
                filtered(spectrum(), 0, j, angle, first(scratch_.wave, elements(j) * 2 * L_));
                routines_.modulus(scratch_.wave.data(), elements(j), map);
                smooth(map, j, out = feature(out, 1));
                if (f_.max_order > 1 && j + 1 < f_.n_scales) {
                    second_out = second_order(map, j, second_out);
                }
            }
        }
    }

    /// gradient (half of a panel) of covectors . transform(pixels)
    void pull_back(const T* pixels, const T* covectors, T* gradient) {
        load_image(pixels);
        const Index n = elements(0);
        spectrum_of(image(), 0, spectrum());
        T* by_spectrum = first(scratch_.spectrum_gradient, n * 2 * L_);
        std::fill_n(by_spectrum, n * 2 * L_, T(0));
        const T* in = covectors;
        const T* second_in = feature(in, channels(f_.n_scales, f_.n_angles, 1));
        for (Index j = 0; j < f_.n_scales; ++j) {
            T* wave = first(scratch_.wave, elements(j) * 2 * L_);
            T* by_map = first(scratch_.map_gradient, elements(j) * L_);
            for (Index angle = 0; angle < f_.n_angles; ++angle) {
                filtered(spectrum(), 0, j, angle, wave);
                smooth_back(in = feature(in, 1), j, by_map);
                if (f_.max_order > 1 && j + 1 < f_.n_scales) {
                    T* map = first(scratch_.map, elements(j) * L_);
                    routines_.modulus(wave, elements(j), map);
                    second_in = second_order_back(map, j, second_in, by_map);
                }
                routines_.turn(by_map, elements(j), wave);
                filtered_back(wave, 0, j, angle, by_spectrum);
            }
        }
        transform_in_place(by_spectrum, 0, true);
        T* by_image = first(scratch_.image_gradient, n * L_);
        smooth_back(covectors, 0, by_image);
        routines_.add_real(by_spectrum, n, by_image);
        store_gradient(by_image, gradient);
    }

   private:
    Index rows(Index level) const { return f_.rows >> level; }
    Index cols(Index level) const { return f_.cols >> level; }
    Index elements(Index level) const { return rows(level) * cols(level); }

    T* image() { return scratch_.image.data(); }
    T* spectrum() { return first(scratch_.spectrum, elements(0) * 2 * L_); }

    template <class P>
    P* feature(P* features, Index channel) const {
        return features + channel * f_.out_height * f_.out_width * routines_.panel;
    }

    template <class Use>
    void for_each_pixel(Use&& use) const {
        Index element = 0;
        for (Index r = 0; r < f_.rows; ++r) {
            for (Index c = 0; c < f_.cols; ++c, ++element) {
                const Index y = f_.row_of[static_cast<std::size_t>(r)];
                const Index x = f_.col_of[static_cast<std::size_t>(c)];
                use(element * L_, y < 0 || x < 0 ? -1 : (y * f_.width + x) * routines_.panel);
            }
        }
    }

    void load_image(const T* pixels) {
        T* padded = first(scratch_.image, elements(0) * L_);
        for_each_pixel([&](Index to, Index from) {
            if (from < 0) {
                std::fill_n(padded + to, L_, T(0));
            } else {
                std::copy_n(pixels + from, L_, padded + to);
            }
        });
    }

    void store_gradient(const T* by_image, T* gradient) const {
        for (Index pixel = 0; pixel < f_.height * f_.width; ++pixel) {
            std::fill_n(gradient + pixel * routines_.panel, L_, T(0));
        }
        for_each_pixel([&](Index from, Index to) {
            for (Index lane = 0; to >= 0 && lane < L_; ++lane) {
                gradient[to + lane] += by_image[from + lane];
            }
        });
    }

    void transform_in_place(T* z, Index level, bool inverse) {
        const auto l = static_cast<std::size_t>(level);
        T* room = first(scratch_.fourier, 4 * L_ * std::max(f_.rows, f_.cols));
        routines_.fourier(plan_.down[l].line(), plan_.along[l].line(), inverse, z, room);
    }

    void spectrum_of(const T* map, Index level, T* out) {
        routines_.to_complex(map, elements(level), out);
        transform_in_place(out, level, false);
    }

    const T* wave_of(Index level, Index scale, Index angle) const {
        const Index number = (scale - first_scale(level)) * f_.n_angles + angle;
        return f_.waves[static_cast<std::size_t>(level)].data() + number * elements(level);
    }

    /// out = the convolution with a wavelet, at the level of the wavelet's scale.
    void filtered(const T* spectrum, Index level, Index scale, Index angle, T* out) {
        routines_.filter_down(spectrum, wave_of(level, scale, angle), rows(level), cols(level),
                              Index(1) << (scale - level), out);
        transform_in_place(out, scale, true);
    }

    /// by_spectrum += what `filtered` transposes to, of z, which is overwritten.
    void filtered_back(T* z, Index level, Index scale, Index angle, T* by_spectrum) {
        transform_in_place(z, scale, false);
        routines_.filter_up(z, wave_of(level, scale, angle), rows(level), cols(level),
                            Index(1) << (scale - level), by_spectrum);
    }

    void smooth(const T* map, Index level, T* out) {
        const auto l = static_cast<std::size_t>(level);
        const Index m = rows(level), n = cols(level), h = f_.out_height, w = f_.out_width;
        T* mixed = first(scratch_.mixed, h * n * L_);
        routines_.mix(f_.smooth_rows[l].data(), h, m, map, n * L_, L_, n, mixed, n * L_, L_);
        const Index panel = routines_.panel;
        routines_.mix(f_.smooth_cols[l].data(), w, n, mixed, L_, n * L_, h, out, panel, w * panel);
    }

    /// out (rows, cols of the level) = what `smooth` transposes to, of in.
    void smooth_back(const T* in, Index level, T* out) {
        const auto l = static_cast<std::size_t>(level);
        const Index m = rows(level), n = cols(level), h = f_.out_height, w = f_.out_width;
        const Index panel = routines_.panel;
        T* mixed = first(scratch_.mixed, m * w * L_);
        routines_.mix(plan_.smooth_rows_transposed[l].data(), m, h, in, w * panel, panel, w, mixed,
                      w * L_, L_);
        routines_.mix(plan_.smooth_cols_transposed[l].data(), n, w, mixed, L_, w * L_, m, out, L_,
                      n * L_);
    }

    T* second_order(const T* map, Index level, T* out) {
        T* of_map = first(scratch_.map_spectrum, elements(level) * 2 * L_);
        spectrum_of(map, level, of_map);
        for (Index j = level + 1; j < f_.n_scales; ++j) {
            T* wave = first(scratch_.second, elements(j) * 2 * L_);
            T* moduli = first(scratch_.second_map, elements(j) * L_);
            for (Index angle = 0; angle < f_.n_angles; ++angle) {
                filtered(of_map, level, j, angle, wave);
                routines_.modulus(wave, elements(j), moduli);
                smooth(moduli, j, out);
                out = feature(out, 1);
            }
        }
        return out;
    }

    const T* second_order_back(const T* map, Index level, const T* in, T* by_map) {
        const Index n = elements(level);
        T* of_map = first(scratch_.map_spectrum, n * 2 * L_);
        spectrum_of(map, level, of_map);
        T* by_spectrum = first(scratch_.map_spectrum_gradient, n * 2 * L_);
        std::fill_n(by_spectrum, n * 2 * L_, T(0));
        for (Index j = level + 1; j < f_.n_scales; ++j) {
            T* wave = first(scratch_.second, elements(j) * 2 * L_);
            T* by_moduli = first(scratch_.second_map, elements(j) * L_);
            for (Index angle = 0; angle < f_.n_angles; ++angle) {
                filtered(of_map, level, j, angle, wave);
                smooth_back(in, j, by_moduli);
                in = feature(in, 1);
                routines_.turn(by_moduli, elements(j), wave);
                filtered_back(wave, level, j, angle, by_spectrum);
            }
        }
        transform_in_place(by_spectrum, level, true);
        routines_.add_real(by_spectrum, n, by_map);
        return in;
    }

    const ScatteringPlan<T>& plan_;
    const ScatteringFilters<T>& f_;
    const detail::SimdRoutines<T>& routines_;
    Scratch<T>& scratch_;
    const Index L_;
};

void check_sources(const std::vector<Index>& source, Index padded, Index size) {
    require(static_cast<Index>(source.size()) == padded,
            "a padded side has a source for each pixel");
    for (const Index pixel : source) {
        require(-1 <= pixel && pixel < size, "pixels of a padded image come from the image");
    }
}

template <class T>
void check(const ScatteringFilters<T>& f) {
    require(f.height > 0 && f.width > 0 && f.out_height > 0 && f.out_width > 0,
            "images have pixels");
    require(0 < f.n_scales && f.n_scales < 32 && f.n_angles > 0, "there are scales and angles");
    require(f.max_order == 1 || f.max_order == 2, "max_order is 1 or 2");
    const Index stride = Index(1) << f.n_scales;
    require(f.rows > 0 && f.cols > 0 && f.rows % stride == 0 && f.cols % stride == 0,
            "padded sides are multiples of 2^n_scales");
    check_sources(f.row_of, f.rows, f.height);
    check_sources(f.col_of, f.cols, f.width);
    require(has_size(f.waves, f.n_scales) && has_size(f.smooth_rows, f.n_scales) &&
                has_size(f.smooth_cols, f.n_scales),
            "there are filters for each level");
    for (Index level = 0; level < f.n_scales; ++level) {
        const auto l = static_cast<std::size_t>(level);
        const Index rows = f.rows >> level, cols = f.cols >> level;
        const Index n_waves = std::max<Index>(f.n_scales - first_scale(level), 0) * f.n_angles;
        require(has_size(f.waves[l], n_waves * rows * cols), "waves have the size of their level");
        require(has_size(f.smooth_rows[l], f.out_height * rows) &&
                    has_size(f.smooth_cols[l], f.out_width * cols),
                "matrices of smoothing have the size of their level");
    }
}

template <class T>
std::vector<T> transposed(const std::vector<T>& matrix, Index rows) {
    const Index cols = static_cast<Index>(matrix.size()) / rows;
    std::vector<T> out(matrix.size());
    for (Index i = 0; i < rows; ++i) {
        for (Index j = 0; j < cols; ++j) {
            out[static_cast<std::size_t>(j * rows + i)] =
                matrix[static_cast<std::size_t>(i * cols + j)];
        }
    }
    return out;
}

/// Multiply-adds of one image, roughly: ten for each element of a transform and of a smoothing.
template <class T>
double work(const ScatteringFilters<T>& f) {
    return 10.0 * static_cast<double>(channels(f.n_scales, f.n_angles, f.max_order)) *
           static_cast<double>(f.rows * f.cols);
}

/// Calls body(rows of one panel, scratch) for all panels.
template <class T, class Body>
void for_each_panel(Index n, double work, int n_threads, Body&& body) {
    const Index panel = detail::simd().get<T>().panel;
    std::vector<Scratch<T>> scratch(static_cast<std::size_t>(std::max(n_threads, 1)));
    const int team = detail::team_for(static_cast<double>(n) * work, n_threads);
    detail::parallel_for((n + panel - 1) / panel, team, [&](Index p, int worker) {
        const Index row = p * panel;
        body(row, std::min(panel, n - row), scratch[static_cast<std::size_t>(worker)]);
    });
}

template <class T>
const T* packed(const detail::SimdRoutines<T>& routines, MatrixView<const T> rows,
                const std::vector<T>& nothing, AlignedVector<T>& norms, AlignedVector<T>& panel) {
    T* out = first(panel, rows.cols * routines.panel);
    routines.pack(rows, nothing.data(), out, first(norms, routines.panel));
    return out;
}

template <class View>
View part(View matrix, Index row, Index rows) {
    return {matrix.row(row), rows, matrix.cols, matrix.stride};
}

}  // namespace

template <class T>
Scattering<T>::Scattering(ScatteringFilters<T> filters) {
    check(filters);
    auto plan = std::make_shared<detail::ScatteringPlan<T>>();
    for (Index level = 0; level < filters.n_scales; ++level) {
        const auto l = static_cast<std::size_t>(level);
        plan->down.emplace_back(filters.rows >> level);
        plan->along.emplace_back(filters.cols >> level);
        plan->smooth_rows_transposed.push_back(
            transposed(filters.smooth_rows[l], filters.out_height));
        plan->smooth_cols_transposed.push_back(
            transposed(filters.smooth_cols[l], filters.out_width));
    }
    plan->filters = std::move(filters);
    plan_ = std::move(plan);
}

template <class T>
Index Scattering<T>::n_channels() const {
    return channels(filters().n_scales, filters().n_angles, filters().max_order);
}

template <class T>
const ScatteringFilters<T>& Scattering<T>::filters() const {
    return plan_->filters;
}

template <class T>
void Scattering<T>::transform(MatrixView<const T> images, MatrixView<T> out, int n_threads) const {
    const auto& routines = detail::simd().get<T>();
    const std::vector<T> nothing(static_cast<std::size_t>(images.cols), T(0));
    for_each_panel<T>(
        images.rows, work(filters()), n_threads, [&](Index row, Index n, Scratch<T>& mine) {
            const T* pixels =
                packed(routines, part(images, row, n), nothing, mine.norms, mine.pixels);
            T* features = first(mine.features, out.cols * routines.panel);
            Lanes<T> lanes(*plan_, routines, mine);
            for (Index lane = 0; lane < n; lane += routines.lanes) {
                lanes.transform(pixels + lane, features + lane);
            }
            routines.unpack(features, part(out, row, n));
        });
}

template <class T>
void Scattering<T>::pull_back(MatrixView<const T> images, MatrixView<const T> covectors,
                              MatrixView<T> out, int n_threads) const {
    const auto& routines = detail::simd().get<T>();
    const std::vector<T> nothing(static_cast<std::size_t>(std::max(images.cols, covectors.cols)),
                                 T(0));
    for_each_panel<T>(
        images.rows, 3 * work(filters()), n_threads, [&](Index row, Index n, Scratch<T>& mine) {
            const T* pixels =
                packed(routines, part(images, row, n), nothing, mine.norms, mine.pixels);
            const T* given =
                packed(routines, part(covectors, row, n), nothing, mine.norms, mine.covectors);
            T* gradient = first(mine.gradient, images.cols * routines.panel);
            Lanes<T> lanes(*plan_, routines, mine);
            for (Index lane = 0; lane < n; lane += routines.lanes) {
                lanes.pull_back(pixels + lane, given + lane, gradient + lane);
            }
            routines.unpack(gradient, part(out, row, n));
        });
}

template class Scattering<float>;
template class Scattering<double>;

}  // namespace kflow
