#include "bindings/blas_capi.hpp"

#include <string>

#include "kflow/blas.hpp"

namespace py = pybind11;

namespace kflow::python {
namespace {

void erase_all(std::string& text, const std::string& part) {
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part)) {
        text.erase(at, part.size());
    }
}

// One letter for each argument: c (char *), i (int *), s (float *), d (double *), ? (other).
// A capsule's name is its C signature, where Cython writes float as a mangled typedef that ends in
// "cython_blas_s", and so on.
std::string argument_letters(std::string signature) {
    erase_all(signature, "const ");
    const auto open = signature.find('('), close = signature.rfind(')');
    if (signature.compare(0, 6, "void (") != 0 || close == std::string::npos) {
        return "";
    }
    std::string letters, argument;
    const auto ends_with = [&](const std::string& tail) {
        return argument.size() >= tail.size() &&
               argument.compare(argument.size() - tail.size(), tail.size(), tail) == 0;
    };
    for (auto i = open + 1; i <= close; ++i) {
        if (signature[i] != ',' && i != close) {
            if (signature[i] != ' ') {
                argument += signature[i];
            }
            continue;
        }
        letters +=
            argument == "char*"                                   ? 'c'
            : argument == "int*"                                  ? 'i'
            : argument == "float*" || ends_with("cython_blas_s*") ? 's'
            : argument == "double*" || ends_with("cython_blas_d*") || ends_with("cython_lapack_d*")
                ? 'd'
                : '?';
        argument.clear();
    }
    return letters;
}

template <class Function>
Function function_of(const py::dict& capi, const char* name, const char* letters) {
    if (!capi.contains(name)) {
        return nullptr;
    }
    const py::object capsule = capi[name];
    const char* signature = PyCapsule_GetName(capsule.ptr());
    if (signature == nullptr || argument_letters(signature) != letters) {
        PyErr_Clear();
        return nullptr;
    }
    return reinterpret_cast<Function>(PyCapsule_GetPointer(capsule.ptr(), signature));
}

}  // namespace

bool install_blas(const py::dict& blas_capi, const py::dict& lapack_capi) {
    BlasTable table;
    table.sgemm = function_of<BlasTable::Gemm32>(blas_capi, "sgemm", "cciiissisissi");
    table.dgemm = function_of<BlasTable::Gemm64>(blas_capi, "dgemm", "cciiiddididdi");
    table.dtrsm = function_of<BlasTable::Trsm64>(blas_capi, "dtrsm", "cccciiddidi");
    table.dpotrf = function_of<BlasTable::Potrf64>(lapack_capi, "dpotrf", "cidii");
    set_blas(table);
    return table.complete();
}

}  // namespace kflow::python
