#pragma once

// The only conversions between NumPy arrays and the core's views. Nothing is converted or copied:
// an array of another dtype or memory layout is refused by pybind11 with a TypeError.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "kflow/matrix_view.hpp"

namespace kflow::python {

namespace py = pybind11;

template <class T>
using Array = py::array_t<T, py::array::c_style>;

[[noreturn]] inline void refuse(const char* name, const std::string& expected) {
    throw std::invalid_argument(std::string(name) + " must have shape " + expected);
}

template <class T>
MatrixView<const T> in(const Array<T>& array, const char* name, Index rows = -1, Index cols = -1) {
    if (array.ndim() != 2 || (rows >= 0 && array.shape(0) != rows) ||
        (cols >= 0 && array.shape(1) != cols)) {
        refuse(name, "(" + (rows >= 0 ? std::to_string(rows) : std::string("any")) + ", " +
                         (cols >= 0 ? std::to_string(cols) : std::string("any")) + ")");
    }
    return {array.data(), array.shape(0), array.shape(1)};
}

/// Raises if the array is read-only.
template <class T>
MatrixView<T> out(Array<T>& array, const char* name, Index rows, Index cols) {
    in(array, name, rows, cols);
    return {array.mutable_data(), rows, cols};
}

}  // namespace kflow::python
