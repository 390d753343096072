// Sources: PKWARE, APPNOTE.TXT, .ZIP file format specification, version 6.3;
// kflow/storage/model_file.py.

#include "model/archive.hpp"

#include <algorithm>
#include <utility>

#include "model/checksum.hpp"

namespace kflow::model {
namespace {

constexpr const char* kHeader = "model.json";
constexpr Index kVersion = 5;

// A JSON value takes more memory than its text. No model has a text nearly as long.
constexpr std::size_t kMostText = std::size_t{1} << 24;

constexpr std::uint64_t kEnd = 0x06054b50, kEnd64 = 0x06064b50, kLocator64 = 0x07064b50,
                        kEntry = 0x02014b50, kLocal = 0x04034b50;
constexpr std::uint64_t kIn64 = 0xffffffff;

// Where the list of members lies, and how many there are.
struct Directory {
    std::uint64_t first, size, n;
};

Directory find_directory(Bytes file) {
    constexpr std::uint64_t kSize = 22, kSize64 = 56, kLocatorSize = 20;
    if (file.size() < kSize) {
        throw ModelError("it is no ZIP archive, or it was cut short");
    }
    // kflow writes no comment, so that the end's record is at the end.
    const std::uint64_t end = file.size() - kSize;
    if (file.number(end, 4) != kEnd || file.number(end + 20, 2) != 0) {
        throw ModelError("it is no ZIP archive, or it was cut short");
    }
    Directory found{file.number(end + 16, 4), file.number(end + 12, 4), file.number(end + 10, 2)};
    std::uint64_t after = end;
    if (end >= kLocatorSize && file.number(end - kLocatorSize, 4) == kLocator64) {
        const std::uint64_t end64 = file.number(end - kLocatorSize + 8, 8);
        if (file.part(end64, kSize64).size() != kSize64 || file.number(end64, 4) != kEnd64) {
            throw ModelError("its ZIP directory is damaged");
        }
        found = {file.number(end64 + 48, 8), file.number(end64 + 40, 8),
                 file.number(end64 + 32, 8)};
        after = end64;
    }
    file.part(found.first, found.size);
    if (found.first + found.size != after) {
        throw ModelError("its ZIP directory is damaged");
    }
    return found;
}

// The numbers of an entry that did not fit into 32 bits follow in the extra field of kind 1.
void replace_by_64_bits(Bytes extra, std::initializer_list<std::uint64_t*> numbers) {
    for (std::uint64_t at = 0; at + 4 <= extra.size();) {
        const std::uint64_t kind = extra.number(at, 2), size = extra.number(at + 2, 2);
        const Bytes field = extra.part(at + 4, size);
        if (kind == 1) {
            std::uint64_t next = 0;
            for (std::uint64_t* number : numbers) {
                if (*number == kIn64) {
                    *number = field.number(next, 8);
                    next += 8;
                }
            }
            return;
        }
        at += 4 + size;
    }
}

}  // namespace

Archive::Archive(std::vector<unsigned char> content) : content_(std::move(content)) {
    read_directory();
    read_header();
}

void Archive::read_directory() {
    const Bytes file(content_.data(), content_.size());
    const Directory directory = find_directory(file);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> taken;  // parts of the file
    std::uint64_t at = directory.first;
    for (std::uint64_t i = 0; i < directory.n; ++i) {
        if (file.number(at, 4) != kEntry) {
            throw ModelError("its ZIP directory is damaged");
        }
        const std::uint64_t flags = file.number(at + 8, 2), method = file.number(at + 10, 2),
                            crc = file.number(at + 16, 4), n_name = file.number(at + 28, 2),
                            n_extra = file.number(at + 30, 2), n_comment = file.number(at + 32, 2);
        std::uint64_t stored = file.number(at + 20, 4), size = file.number(at + 24, 4),
                      local = file.number(at + 42, 4);
        const std::string name = file.part(at + 46, n_name).text();
        replace_by_64_bits(file.part(at + 46 + n_name, n_extra), {&size, &stored, &local});
        at += 46 + n_name + n_extra + n_comment;

        if (method != 0 || size != stored || (flags & 1) != 0) {
            throw ModelError(name + " is compressed or encrypted, and kflow does neither");
        }
        if (file.number(local, 4) != kLocal || file.number(local + 26, 2) != n_name ||
            file.part(local + 30, n_name).text() != name) {
            throw ModelError("its ZIP directory does not fit " + name);
        }
        const std::uint64_t first = local + 30 + n_name + file.number(local + 28, 2);
        const Bytes data = file.part(first, size);
        if (crc32(data.data(), data.size()) != crc) {
            throw ModelError("the checksum of " + name + " is wrong");
        }
        taken.emplace_back(local, first + size);
        if (!members_.emplace(name, data).second) {
            throw ModelError("two members have the name " + name);
        }
    }
    if (at != directory.first + directory.size) {
        throw ModelError("its ZIP directory is damaged");
    }
    std::sort(taken.begin(), taken.end());
    for (std::size_t i = 0; i < taken.size(); ++i) {
        const std::uint64_t end = i + 1 < taken.size() ? taken[i + 1].first : directory.first;
        if (taken[i].second > end) {
            throw ModelError("its members overlap");
        }
    }
}

void Archive::read_header() {
    const Bytes text = member(kHeader);
    if (text.size() > kMostText) {
        throw ModelError("its text is too long");
    }
    const Json header = Json::parse(text);
    if (header.at("format").text() != "kflow-model") {
        throw ModelError("it is not a kflow model file");
    }
    const Index version = header.at("version").index();
    if (version > kVersion) {
        throw ModelError("it was written by a newer kflow: upgrade to read it");
    }
    if (version < kVersion) {
        throw ModelError("it was written by an older kflow: load and save it in Python");
    }
    kind_ = header.at("kind").text();
    settings_ = header.at("settings");
    std::vector<std::string> listed;
    for (const Json& name : header.at("members").elements()) {
        listed.push_back(name.text());
    }
    std::sort(listed.begin(), listed.end());
    std::vector<std::string> there = names();
    there.erase(std::find(there.begin(), there.end(), kHeader));
    if (listed != there) {
        throw ModelError("it lacks a member, or has one too many");
    }
}

Bytes Archive::member(const std::string& name) const {
    const auto found = members_.find(name);
    if (found == members_.end()) {
        throw ModelError("it lacks " + name);
    }
    return found->second;
}

Array Archive::array(const std::string& name) const {
    try {
        return Array::parse(member(name + ".npy"));
    } catch (const ModelError& error) {
        throw ModelError(name + ": " + error.what());
    }
}

std::vector<std::string> Archive::names() const {
    std::vector<std::string> out;
    for (const auto& entry : members_) {
        out.push_back(entry.first);
    }
    return out;
}

}  // namespace kflow::model
