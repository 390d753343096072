#pragma once

#include <map>
#include <string>
#include <vector>

#include "model/array.hpp"
#include "model/bytes.hpp"
#include "model/json.hpp"

namespace kflow::model {

/// A model file: a ZIP archive of members that are not compressed. The last one is JSON text, which
/// lists the others. Constructing it checks the checksum of every member.
class Archive {
   public:
    explicit Archive(std::vector<unsigned char> content);

    const std::string& kind() const { return kind_; }
    const Json& settings() const { return settings_; }

    bool contains(const std::string& name) const { return members_.count(name) > 0; }
    Bytes member(const std::string& name) const;

    /// The array in the member `name`.npy.
    Array array(const std::string& name) const;
    bool has_array(const std::string& name) const { return contains(name + ".npy"); }

    std::vector<std::string> names() const;

   private:
    void read_directory();
    void read_header();

    std::vector<unsigned char> content_;
    std::map<std::string, Bytes> members_;
    std::string kind_;
    Json settings_;
};

}  // namespace kflow::model
