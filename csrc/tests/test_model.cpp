// The parts of the reader of models. Whole files are read in tests/test_model_reader.py, which
// makes them.

#include <cmath>
#include <string>
#include <vector>

#include "check.hpp"
#include "kflow/model.hpp"
#include "model/array.hpp"
#include "model/checksum.hpp"
#include "model/json.hpp"
#include "model/preprocessing.hpp"

using namespace kflow;
using namespace kflow::model;
using namespace kflow::test;

namespace {

Bytes bytes(const std::string& text) {
    return {reinterpret_cast<const unsigned char*>(text.data()), text.size()};
}

std::string sha256(const std::string& text, std::size_t piece) {
    Sha256 sum;
    for (std::size_t first = 0; first < text.size(); first += piece) {
        const std::string part = text.substr(first, piece);
        sum.update(bytes(part).data(), part.size());
    }
    return sum.digits();
}

void checksums() {
    CHECK(crc32(bytes("123456789").data(), 9) == 0xcbf43926u);  // the check value of CRC-32
    // The examples of FIPS 180-4.
    CHECK(sha256("", 1) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(sha256("abc", 2) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    for (std::size_t piece : {7, 64, 100, 1000000}) {
        CHECK(sha256(std::string(1000000, 'a'), piece) ==
              "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
}

void json() {
    const Json value = Json::parse(bytes(
        R"({"a": [1, -2.5e3, true, null], "ä\u00e9\ud83d\ude00": "x\n\"", "far": -Infinity, "o": {}})"));
    CHECK(value.at("a").elements().size() == 4);
    CHECK(value.at("a").elements()[0].index() == 1);
    CHECK(value.at("a").elements()[1].number() == -2500.0);
    CHECK(value.at("a").elements()[3].is_null());
    CHECK(value.at("\u00e4\u00e9\U0001f600").text() == "x\n\"");
    CHECK(std::isinf(value.at("far").number()));
    CHECK(value.at("o").entries().empty());
    CHECK_THROWS(value.at("b"), ModelError,
                 std::string(error.what()).find("'b'") != std::string::npos);
    for (const char* wrong : {"a", "text", "-1"}) {
        CHECK_THROWS(Json::parse(bytes(R"("x")")).at(wrong), ModelError, true);
    }
    const std::string deep(100000, '[');
    for (const std::string& bad :
         {std::string(), std::string("{"), std::string("[1,]"), std::string("[1 2]"),
          std::string("{\"a\" 1}"), std::string("{\"a\": 1, \"a\": 2}"), std::string("\"\\x\""),
          std::string("\"\\u12"), std::string("1.2.3"), std::string("nul"), std::string("1 1"),
          std::string("\0", 1), deep}) {
        CHECK_THROWS(Json::parse(bytes(bad)), ModelError, true);
    }
    for (const char* number : {"-1", "0.5", "1e300", "NaN"}) {
        CHECK_THROWS(Json::parse(bytes(number)).index(), ModelError, true);
    }
}

std::string npy(const std::string& dtype, const std::string& rest, const std::string& data) {
    std::string header = "{'descr': '" + dtype + "', " + rest + "}";
    header += std::string(63 - (header.size() + 10) % 64 + 0, ' ') + "\n";
    const auto length = static_cast<unsigned>(header.size());
    return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(length & 255) +
           static_cast<char>(length >> 8) + header + data;
}

void arrays() {
    const std::string rest = "'fortran_order': False, 'shape': (2, 2), ";
    const std::string numbers("\x01\x02\x03\x04", 4);
    const std::string small = npy("|u1", rest, numbers);
    const Array array = Array::parse(bytes(small));
    CHECK(array.has_shape({2, 2}) && array.n_elements() == 4);
    CHECK((array.texts() == std::vector<std::string>{"1", "2", "3", "4"}));
    CHECK_THROWS(array.numbers<double>(), ModelError, true);

    // Half precision: 1, -2, the least subnormal number, 65504; column by column.
    const std::string halves("\x00\x3c\x00\xc0\x01\x00\xff\x7b", 8);
    const std::string by_columns = npy("<f2", "'fortran_order': True, 'shape': (2, 2), ", halves);
    CHECK((Array::parse(bytes(by_columns)).numbers<double>() ==
           std::vector<double>{1.0, std::ldexp(1.0, -24), -2.0, 65504.0}));

    for (const std::string& bad :
         {npy("|u1", rest, "abc"), npy("|u1", rest, "abcde"), npy("|O", rest, numbers),
          npy("<i9", rest, numbers),
          npy("|u1", "'fortran_order': False, 'shape': (-2, -2)", numbers),
          npy("|u1", "'fortran_order': False, 'shape': (4611686018427387904, 4)", numbers),
          npy("|u1", "'shape': (2, 2)", numbers), std::string("\x93NUMPY"), small.substr(1)}) {
        CHECK_THROWS(Array::parse(bytes(bad)), ModelError, true);
    }
    const std::string infinite =
        npy("<f2", "'fortran_order': False, 'shape': (1,), ", std::string("\x00\x7c", 2));
    CHECK_THROWS(Array::parse(bytes(infinite)).numbers<float>(), ModelError, true);
}

void nothing_is_read_that_is_not_there() {
    const std::string text = "abc";
    CHECK(bytes(text).number(1, 2) == 0x6362);
    CHECK(bytes(text).part(3, 0).size() == 0);
    CHECK_THROWS(bytes(text).number(2, 2), ModelError, true);
    CHECK_THROWS(bytes(text).part(4, 0), ModelError, true);
    CHECK_THROWS(bytes(text).part(1, ~std::uint64_t{0}), ModelError, true);
}

void refused_as_a_whole() {
    for (const std::string& text : {std::string(), std::string("PK"), std::string(30, 'x')}) {
        CHECK_THROWS(Model::parse({text.begin(), text.end()}, "model.kflow"), ModelError,
                     std::string(error.what()).rfind("model.kflow: ", 0) == 0);
    }
    CHECK_THROWS(Model::read("/nowhere/model.kflow"), ModelError, true);
}

}  // namespace

int main() {
    checksums();
    json();
    arrays();
    nothing_is_read_that_is_not_there();
    refused_as_a_whole();
    const double row[] = {3.0, 4.0};
    CHECK(norm(row, 2) == 5.0);
    return result();
}
