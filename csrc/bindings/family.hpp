#pragma once

#include <stdexcept>
#include <string>

#include "kflow/profile.hpp"

namespace kflow::python {

/// The family of a name. Throws std::invalid_argument if there is none.
inline Family family_of(const std::string& name) {
    for (const FamilyTraits& family : kFamilies) {
        if (family.name == name) {
            return family.family;
        }
    }
    throw std::invalid_argument("families: unknown kernel family '" + name + "'");
}

}  // namespace kflow::python
