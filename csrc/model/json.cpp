#include "model/json.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <locale>
#include <sstream>

#include "model/utf8.hpp"

namespace kflow::model {
namespace {

constexpr int kMostNested = 64;

}  // namespace

class JsonParser {
   public:
    explicit JsonParser(Bytes text)
        : at_(reinterpret_cast<const char*>(text.data())), end_(at_ + text.size()) {}

    Json all() {
        Json value = this->value(0);
        skip_space();
        if (at_ != end_) {
            fail();
        }
        return value;
    }

   private:
    [[noreturn]] static void fail() { throw ModelError("its text is no JSON"); }

    void skip_space() {
        while (at_ != end_ && std::strchr(" \t\r\n", *at_) != nullptr && *at_ != '\0') {
            ++at_;
        }
    }

    char next() {
        if (at_ == end_) {
            fail();
        }
        return *at_++;
    }

    bool take(char c) {
        skip_space();
        if (at_ == end_ || *at_ != c) {
            return false;
        }
        ++at_;
        return true;
    }

    bool take_word(const char* word) {
        const std::size_t n = std::strlen(word);
        if (static_cast<std::size_t>(end_ - at_) < n || std::strncmp(at_, word, n) != 0) {
            return false;
        }
        at_ += n;
        return true;
    }

    Json value(int nested) {
        if (nested > kMostNested) {
            fail();
        }
        Json out;
        if (take('{')) {
            out.type_ = Json::Type::object;
            while (!take('}')) {
                if ((!out.entries_.empty() && !take(',')) || !take('"')) {
                    fail();
                }
                std::string key = text();
                if (!take(':')) {
                    fail();
                }
                out.entries_.emplace_back(std::move(key), value(nested + 1));
            }
            check_keys(out);
        } else if (take('[')) {
            out.type_ = Json::Type::array;
            while (!take(']')) {
                if (!out.elements_.empty() && !take(',')) {
                    fail();
                }
                out.elements_.push_back(value(nested + 1));
            }
        } else if (take('"')) {
            out.type_ = Json::Type::text;
            out.text_ = text();
        } else if (take_word("null")) {
            out.type_ = Json::Type::null;
        } else if (take_word("true")) {
            out.type_ = Json::Type::boolean;
            out.number_ = 1.0;
        } else if (take_word("false")) {
            out.type_ = Json::Type::boolean;
        } else {
            out.type_ = Json::Type::number;
            out.number_ = number();
        }
        return out;
    }

    static void check_keys(const Json& object) {
        std::vector<std::string> keys;
        for (const auto& entry : object.entries_) {
            keys.push_back(entry.first);
        }
        std::sort(keys.begin(), keys.end());
        if (std::adjacent_find(keys.begin(), keys.end()) != keys.end()) {
            fail();
        }
    }

    double number() {
        if (take_word("NaN")) {
            return std::numeric_limits<double>::quiet_NaN();
        }
        if (take_word("Infinity")) {
            return std::numeric_limits<double>::infinity();
        }
        if (take_word("-Infinity")) {
            return -std::numeric_limits<double>::infinity();
        }
        std::string digits;
        while (at_ != end_ && *at_ != '\0' && std::strchr("+-.0123456789eE", *at_) != nullptr) {
            digits += *at_++;
        }
        // Not strtod, which reads what the user's locale calls a number.
        std::istringstream stream(digits);
        stream.imbue(std::locale::classic());
        double value = 0.0;
        if (!(stream >> value) || stream.peek() != std::istringstream::traits_type::eof()) {
            fail();
        }
        return value;
    }

    std::uint32_t four_digits() {
        std::uint32_t code = 0;
        for (int i = 0; i < 4; ++i) {
            const char c = next();
            const char* digits = "0123456789abcdef0123456789ABCDEF";
            const char* found = c == '\0' ? nullptr : std::strchr(digits, c);
            if (found == nullptr) {
                fail();
            }
            code = code << 4 | static_cast<std::uint32_t>((found - digits) & 15);
        }
        return code;
    }

    std::string text() {
        std::string out;
        for (char c = next(); c != '"'; c = next()) {
            if (c != '\\') {
                out += c;
                continue;
            }
            const char escaped = next();
            const char* names = "\"\\/bfnrt";
            const char* found = escaped == '\0' ? nullptr : std::strchr(names, escaped);
            if (found != nullptr) {
                out += "\"\\/\b\f\n\r\t"[found - names];
                continue;
            }
            if (escaped != 'u') {
                fail();
            }
            std::uint32_t code = four_digits();
            if (code >= 0xd800 && code < 0xdc00 && take_word("\\u")) {
                code = 0x10000 + ((code - 0xd800) << 10) + ((four_digits() - 0xdc00) & 0x3ff);
            }
            append_utf8(out, code);
        }
        return out;
    }

    const char* at_;
    const char* end_;
};

Json Json::parse(Bytes text) { return JsonParser(text).all(); }

void Json::require(Type type, const char* what) const {
    if (type_ != type) {
        throw ModelError(std::string("its text has something else where there should be ") + what);
    }
}

const Json* Json::find(const std::string& key) const {
    for (const auto& [name, value] : entries_) {
        if (name == key) {
            return &value;
        }
    }
    return nullptr;
}

const Json& Json::at(const std::string& key) const {
    require(Type::object, "an object");
    const Json* value = find(key);
    if (value == nullptr) {
        throw ModelError("its text lacks '" + key + "'");
    }
    return *value;
}

const std::vector<std::pair<std::string, Json>>& Json::entries() const {
    require(Type::object, "an object");
    return entries_;
}

const std::vector<Json>& Json::elements() const {
    require(Type::array, "an array");
    return elements_;
}

const std::string& Json::text() const {
    require(Type::text, "a text");
    return text_;
}

double Json::number() const {
    require(Type::number, "a number");
    return number_;
}

Index Json::index() const {
    const double value = number();
    if (!(value >= 0.0 && value < 9e15) || value != std::floor(value)) {
        throw ModelError("its text has another number where there should be a count");
    }
    return static_cast<Index>(value);
}

}  // namespace kflow::model
