#pragma once

#include <cstdint>
#include <string>

namespace kflow::model {

/// Appends a character of Unicode in UTF-8.
inline void append_utf8(std::string& out, std::uint32_t code) {
    if (code < 0x80) {
        out += static_cast<char>(code);
        return;
    }
    const int n_more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    out += static_cast<char>((0xff00u >> (n_more + 1) & 0xffu) | code >> (6 * n_more));
    for (int i = n_more - 1; i >= 0; --i) {
        out += static_cast<char>(0x80u | (code >> (6 * i) & 0x3fu));
    }
}

}  // namespace kflow::model
