#pragma once

#include <string>
#include <vector>

#include "model/bytes.hpp"

namespace kflow::model {

/// An array in little-endian bytes that somebody else owns: its shape, and what its elements are.
class Array {
   public:
    /// `kind` and `item_size` are those of NumPy's dtype: 'f' and 8 for float64. Throws ModelError
    /// unless there are as many bytes as that takes.
    Array(char kind, int item_size, std::vector<Index> shape, bool fortran_order, Bytes data);

    /// The array in a .npy file. Source: numpy.lib.format.
    static Array parse(Bytes file);

    const std::vector<Index>& shape() const { return shape_; }
    Index n_elements() const;
    bool has_shape(const std::vector<Index>& shape) const { return shape_ == shape; }
    bool is_float() const { return kind_ == 'f'; }
    char kind() const { return kind_; }
    int item_size() const { return item_size_; }

    /// The numbers, row by row, of an array of floats. Throws ModelError for others, and for
    /// numbers that are not finite.
    template <class T>
    std::vector<T> numbers() const;

    /// The elements as Python prints them, of an array of numbers, truth values or text.
    std::vector<std::string> texts() const;

   private:
    double element(Index i) const;

    char kind_;
    int item_size_;
    std::vector<Index> shape_;
    bool fortran_order_;
    Bytes data_;
};

}  // namespace kflow::model
