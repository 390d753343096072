#include "model/block.hpp"

#include <algorithm>
#include <map>
#include <type_traits>
#include <utility>

#include "model/array.hpp"
#include "model/checksum.hpp"
#include "model/json.hpp"

namespace kflow::model {
namespace {

constexpr Index kVersion = 1;
constexpr std::size_t kMostText = std::size_t{1} << 24;

void check_sum(Bytes file, std::uint64_t end_of_header, const std::string& digits) {
    const std::string blank(64, '0');
    const auto* begin = file.data() + 8;
    const auto* end = file.data() + end_of_header;
    const auto* found =
        std::search(begin, end, digits.begin(), digits.end(),
                    [](unsigned char a, char b) { return a == static_cast<unsigned char>(b); });
    if (digits.size() != blank.size() || found == end) {
        throw ModelError("it has no checksum");
    }
    Sha256 sum;
    sum.update(file.data(), static_cast<std::size_t>(found - file.data()));
    sum.update(reinterpret_cast<const unsigned char*>(blank.data()), blank.size());
    const auto* rest = found + blank.size();
    sum.update(rest, static_cast<std::size_t>(file.data() + file.size() - rest));
    if (sum.digits() != digits) {
        throw ModelError("its checksum is wrong");
    }
}

// The arrays of a safetensors file, which follow each other without gaps.
std::map<std::string, Array> arrays_of(const Json& header, Bytes data) {
    std::map<std::string, Array> arrays;
    std::vector<std::pair<Index, Index>> parts;
    for (const auto& [name, entry] : header.entries()) {
        if (name == "__metadata__") {
            continue;
        }
        const std::string& dtype = entry.at("dtype").text();
        const int item_size = dtype == "F16" ? 2 : dtype == "F32" ? 4 : dtype == "F64" ? 8 : 0;
        std::vector<Index> shape;
        for (const Json& size : entry.at("shape").elements()) {
            shape.push_back(size.index());
        }
        const auto& offsets = entry.at("data_offsets").elements();
        if (item_size == 0 || offsets.size() != 2 || offsets[0].index() > offsets[1].index()) {
            throw ModelError("its array " + name + " is of another kind");
        }
        const Index first = offsets[0].index(), end = offsets[1].index();
        parts.emplace_back(first, end);
        arrays.emplace(name, Array('f', item_size, std::move(shape), false,
                                   data.part(static_cast<std::uint64_t>(first),
                                             static_cast<std::uint64_t>(end - first))));
    }
    std::sort(parts.begin(), parts.end());
    Index end = 0;
    for (const auto& [first, last] : parts) {
        if (first != end) {
            throw ModelError("its arrays overlap, or there is something between them");
        }
        end = last;
    }
    if (static_cast<std::uint64_t>(end) != data.size()) {
        throw ModelError("it has more data than arrays");
    }
    return arrays;
}

const Array& array(const std::map<std::string, Array>& arrays, const char* name) {
    const auto found = arrays.find(name);
    if (found == arrays.end()) {
        throw ModelError(std::string("it lacks ") + name);
    }
    return found->second;
}

}  // namespace

template <class T>
std::vector<Layer<T>> Block<T>::layers() const {
    std::vector<Layer<T>> views;
    for (Index t = 0; t < n_layers; ++t) {
        views.push_back({{centres.data() + t * n_centres * n_coordinates, n_centres, n_coordinates},
                         {coefficients.data() + t * n_centres * n_moving, n_centres, n_moving},
                         steps[static_cast<std::size_t>(t)]});
    }
    return views;
}

template <class T>
Block<T> parse_block(Bytes file) {
    const std::uint64_t length = file.number(0, 8);
    const Bytes text = file.part(8, length);
    if (text.size() > kMostText) {
        throw ModelError("its text is too long");
    }
    const Json header = Json::parse(text);
    const Json& metadata = header.at("__metadata__");
    const auto count = [&](const char* key) {
        const std::string& digits = metadata.at(key).text();
        return Json::parse({reinterpret_cast<const unsigned char*>(digits.data()), digits.size()})
            .index();
    };
    if (metadata.at("format").text() != "kflow-block") {
        throw ModelError("it is no block of layers");
    }
    if (count("version") > kVersion) {
        throw ModelError("it was written by a newer kflow: upgrade to read it");
    }
    check_sum(file, 8 + length, metadata.at("sha256").text());
    if (metadata.at("dtype").text() != (std::is_same_v<T, float> ? "float32" : "float64")) {
        throw ModelError("its layers are of another precision than the flow");
    }
    const auto arrays = arrays_of(header, file.part(8 + length, file.size() - 8 - length));
    const Array& centres = array(arrays, "centres");
    const Array& coefficients = array(arrays, "coefficients");
    const Array& steps = array(arrays, "steps");
    if (centres.shape().size() != 3 || coefficients.shape().size() != 3 ||
        steps.shape().size() != 1 || steps.item_size() != 8) {
        throw ModelError("its arrays have other dimensions");
    }
    Block<T> block;
    block.flow = metadata.at("flow").text();
    block.first = count("first");
    block.n_layers = steps.shape()[0];
    block.n_centres = centres.shape()[1];
    block.n_coordinates = centres.shape()[2];
    block.n_moving = coefficients.shape()[2];
    if (!centres.has_shape({block.n_layers, block.n_centres, block.n_coordinates}) ||
        !coefficients.has_shape({block.n_layers, block.n_centres, block.n_moving}) ||
        block.n_layers < 1 || block.n_moving < 1 || block.n_moving > block.n_coordinates) {
        throw ModelError("its arrays do not fit each other");
    }
    block.centres = centres.numbers<T>();
    block.coefficients = coefficients.numbers<T>();
    block.steps = steps.numbers<double>();
    if (arrays.count("scales") > 0) {
        const std::vector<T> scales = array(arrays, "scales").numbers<T>();
        if (static_cast<Index>(scales.size()) != block.n_layers) {
            throw ModelError("its scales do not fit its layers");
        }
        const Index n = block.n_centres * block.n_coordinates;
        for (std::size_t i = 0; i < block.centres.size(); ++i) {
            block.centres[i] *= scales[i / static_cast<std::size_t>(n)];
        }
    }
    if (arrays.count("rotation") > 0) {
        const Array& rotation = array(arrays, "rotation");
        if (rotation.shape().size() != 2 || rotation.shape()[0] != rotation.shape()[1] ||
            rotation.shape()[0] <= block.n_moving) {
            throw ModelError("its rotation does not fit its layers");
        }
        block.n_rotated = rotation.shape()[0];
        block.rotation = rotation.numbers<double>();
    }
    return block;
}

template struct Block<float>;
template struct Block<double>;
template Block<float> parse_block(Bytes);
template Block<double> parse_block(Bytes);

}  // namespace kflow::model
