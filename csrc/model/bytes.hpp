#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "kflow/model.hpp"

namespace kflow::model {

/// Bytes that somebody else owns, of which nothing is read that is not there.
class Bytes {
   public:
    Bytes() = default;
    Bytes(const unsigned char* data, std::size_t size) : data_(data), size_(size) {}

    const unsigned char* data() const { return data_; }
    std::size_t size() const { return size_; }

    /// Throws ModelError if they are not all there.
    Bytes part(std::uint64_t first, std::uint64_t n) const {
        if (first > size_ || n > size_ - first) {
            throw ModelError("it was cut short, or a size in it is wrong");
        }
        return {data_ + first, static_cast<std::size_t>(n)};
    }

    /// A number of n bytes, little-endian.
    std::uint64_t number(std::uint64_t first, int n) const {
        const Bytes bytes = part(first, static_cast<std::uint64_t>(n));
        std::uint64_t value = 0;
        for (int i = n - 1; i >= 0; --i) {
            value = value << 8 | bytes.data_[i];
        }
        return value;
    }

    std::string text() const { return {reinterpret_cast<const char*>(data_), size_}; }

   private:
    const unsigned char* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace kflow::model
