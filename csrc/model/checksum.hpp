#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace kflow::model {

/// The CRC-32 of ZIP (ISO 3309).
std::uint32_t crc32(const unsigned char* data, std::size_t size);

/// SHA-256 (NIST FIPS 180-4) of data that come in pieces.
class Sha256 {
   public:
    void update(const unsigned char* data, std::size_t size);

    /// The digest in hexadecimal digits. To be called once.
    std::string digits();

   private:
    void compress(const unsigned char* block);

    std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    std::array<unsigned char, 64> rest_{};
    std::size_t n_rest_ = 0;
    std::uint64_t n_bytes_ = 0;
};

}  // namespace kflow::model
