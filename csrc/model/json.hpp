#pragma once

#include <string>
#include <utility>
#include <vector>

#include "kflow/matrix_view.hpp"
#include "model/bytes.hpp"

namespace kflow::model {

/// A value of JSON (RFC 8259), and NaN and Infinity, which Python writes. What is asked for and is
/// not there, or of another type, is a ModelError that names it.
class Json {
   public:
    enum class Type { null, boolean, number, text, array, object };

    /// Throws ModelError for anything else than one value, for values nested too deeply, and for
    /// keys that come twice.
    static Json parse(Bytes text);

    Type type() const { return type_; }
    bool is_null() const { return type_ == Type::null; }

    /// The value of an object's key.
    const Json& at(const std::string& key) const;

    /// Null if there is no such key.
    const Json* find(const std::string& key) const;

    const std::vector<std::pair<std::string, Json>>& entries() const;
    const std::vector<Json>& elements() const;
    const std::string& text() const;
    double number() const;

    /// A whole number, not negative, that an Index can hold.
    Index index() const;

   private:
    friend class JsonParser;
    void require(Type type, const char* what) const;

    Type type_ = Type::null;
    double number_ = 0.0;
    std::string text_;
    std::vector<Json> elements_;
    std::vector<std::pair<std::string, Json>> entries_;
};

}  // namespace kflow::model
