#include "model/array.hpp"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <iomanip>
#include <limits>
#include <locale>
#include <sstream>
#include <utility>

#include "model/utf8.hpp"

namespace kflow::model {
namespace {

// IEEE 754 binary16.
double half(std::uint64_t bits) {
    const double sign = (bits & 0x8000u) != 0 ? -1.0 : 1.0;
    const int exponent = static_cast<int>(bits >> 10 & 31u);
    const double fraction = static_cast<double>(bits & 1023u);
    if (exponent == 31) {
        return fraction != 0.0 ? std::numeric_limits<double>::quiet_NaN()
                               : sign * std::numeric_limits<double>::infinity();
    }
    return exponent == 0 ? sign * std::ldexp(fraction, -24)
                         : sign * std::ldexp(1024.0 + fraction, exponent - 25);
}

double real(const Bytes& data, std::uint64_t first, int item_size) {
    const std::uint64_t bits = data.number(first, item_size);
    if (item_size == 2) {
        return half(bits);
    }
    if (item_size == 4) {
        const auto narrow = static_cast<std::uint32_t>(bits);
        float value = 0.0f;
        std::memcpy(&value, &narrow, sizeof value);
        return static_cast<double>(value);
    }
    double value = 0.0;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// Labels that are floating-point numbers are whole: scikit-learn takes others for values.
std::string text_of(double value) {
    std::ostringstream stream;
    stream.imbue(std::locale::classic());
    if (value == std::floor(value) && std::abs(value) < 1e16) {
        stream << std::fixed << std::setprecision(1) << value;
    } else {
        stream << std::setprecision(17) << value;
    }
    return stream.str();
}

// What follows a key in the dictionary that is a .npy file's header, such as {'descr': '<f8', ...}.
std::string after(const std::string& header, const std::string& key) {
    const std::size_t at = header.find("'" + key + "':");
    if (at == std::string::npos) {
        throw ModelError("it is no array");
    }
    return header.substr(at + key.size() + 3);
}

std::vector<Index> shape_in(const std::string& header) {
    const std::string text = after(header, "shape");
    const std::size_t open = text.find('('), close = text.find(')');
    if (open == std::string::npos || close == std::string::npos || close < open) {
        throw ModelError("it is no array");
    }
    std::vector<Index> shape;
    std::istringstream sizes(text.substr(open + 1, close - open - 1));
    sizes.imbue(std::locale::classic());
    for (std::string size; std::getline(sizes, size, ',');) {
        std::istringstream number(size);
        number.imbue(std::locale::classic());
        long long value = 0;
        if (number >> value) {
            if (value < 0) {
                throw ModelError("a size is negative");
            }
            shape.push_back(static_cast<Index>(value));
        }
    }
    return shape;
}

}  // namespace

Array::Array(char kind, int item_size, std::vector<Index> shape, bool fortran_order, Bytes data)
    : kind_(kind),
      item_size_(item_size),
      shape_(std::move(shape)),
      fortran_order_(fortran_order),
      data_(data) {
    const bool is_known = (kind == 'f' && (item_size == 2 || item_size == 4 || item_size == 8)) ||
                          ((kind == 'i' || kind == 'u') && item_size >= 1 && item_size <= 8) ||
                          (kind == 'b' && item_size == 1) ||
                          (kind == 'U' && item_size >= 0 && item_size % 4 == 0);
    if (!is_known) {
        throw ModelError("elements of another kind than numbers or text");
    }
    if (fortran_order && shape_.size() > 2) {
        throw ModelError("an order of the elements that this reader does not know");
    }
    std::uint64_t size = static_cast<std::uint64_t>(item_size);
    for (Index n : shape_) {
        const auto count = static_cast<std::uint64_t>(n);
        if (count != 0 && size > data.size() / count) {
            throw ModelError("a shape for more data than there are");
        }
        size *= count;
    }
    if (size != data.size()) {
        throw ModelError("a shape for more or less data than there are");
    }
}

Array Array::parse(Bytes file) {
    static const unsigned char kMagic[] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
    if (std::memcmp(file.part(0, 8).data(), kMagic, sizeof kMagic) != 0) {
        throw ModelError("it is no array");
    }
    const std::uint64_t version = file.number(6, 2);
    if (version != 1 && version != 2) {
        throw ModelError("an array's format that this reader does not know");
    }
    const int n_length = version == 1 ? 2 : 4;
    const std::uint64_t length = file.number(8, n_length);
    const std::uint64_t first = 8 + static_cast<std::uint64_t>(n_length);
    const std::string header = file.part(first, length).text();
    const std::string dtype = after(header, "descr");
    const std::size_t quote = dtype.find('\'');
    const std::string name =
        dtype.substr(quote == std::string::npos ? dtype.size() : quote + 1, 12);
    if (name.size() < 3 || (name[0] != '<' && name[0] != '|')) {
        throw ModelError("elements of another kind than numbers or text");
    }
    const long n = std::strtol(name.c_str() + 2, nullptr, 10);
    const int item_size = n < 0 || n > 1000000 ? -1 : static_cast<int>(n);
    const bool fortran_order = after(header, "fortran_order").find("True") < 3;
    const std::uint64_t start = first + length;
    return {name[1], name[1] == 'U' ? 4 * item_size : item_size, shape_in(header), fortran_order,
            file.part(start, file.size() - start)};
}

Index Array::n_elements() const {
    Index n = 1;
    for (Index size : shape_) {
        n *= size;
    }
    return n;
}

double Array::element(Index i) const {
    if (fortran_order_ && shape_.size() == 2) {
        i = i % shape_[1] * shape_[0] + i / shape_[1];
    }
    return real(data_, static_cast<std::uint64_t>(i) * static_cast<std::uint64_t>(item_size_),
                item_size_);
}

template <class T>
std::vector<T> Array::numbers() const {
    if (kind_ != 'f') {
        throw ModelError("other elements than floating-point numbers");
    }
    std::vector<T> out;
    out.reserve(static_cast<std::size_t>(n_elements()));
    for (Index i = 0; i < n_elements(); ++i) {
        out.push_back(static_cast<T>(element(i)));
        if (!std::isfinite(out.back())) {
            throw ModelError("a number that is not finite");
        }
    }
    return out;
}

template std::vector<float> Array::numbers() const;
template std::vector<double> Array::numbers() const;

std::vector<std::string> Array::texts() const {
    std::vector<std::string> out;
    for (Index i = 0; i < n_elements(); ++i) {
        const std::uint64_t first =
            static_cast<std::uint64_t>(i) * static_cast<std::uint64_t>(item_size_);
        if (kind_ == 'f') {
            out.push_back(text_of(element(i)));
        } else if (kind_ == 'U') {
            std::string text;
            for (int k = 0; k < item_size_; k += 4) {
                const std::uint64_t code = data_.number(first + static_cast<std::uint64_t>(k), 4);
                if (code == 0 || code > 0x10ffff) {
                    break;
                }
                append_utf8(text, static_cast<std::uint32_t>(code));
            }
            out.push_back(text);
        } else {
            const std::uint64_t bits = data_.number(first, item_size_);
            const int unused = 64 - 8 * item_size_;
            if (kind_ == 'b') {
                out.emplace_back(bits != 0 ? "True" : "False");
            } else if (kind_ == 'u') {
                out.push_back(std::to_string(bits));
            } else {
                std::int64_t value = 0;
                const std::uint64_t shifted = bits << unused;
                std::memcpy(&value, &shifted, sizeof value);
                out.push_back(std::to_string(value >> unused));
            }
        }
    }
    return out;
}

}  // namespace kflow::model
