#pragma once

#include <cstddef>
#include <new>
#include <vector>

#include "kflow/matrix_view.hpp"

namespace kflow::detail {

/// Memory that starts with a cache line, so that no register's load or store straddles two.
template <class T>
struct AlignedAllocator {
    using value_type = T;
    static constexpr std::align_val_t alignment{64};

    AlignedAllocator() = default;
    template <class U>
    AlignedAllocator(const AlignedAllocator<U>&) {}

    T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), alignment)); }
    void deallocate(T* p, std::size_t) { ::operator delete(p, alignment); }

    friend bool operator==(const AlignedAllocator&, const AlignedAllocator&) { return true; }
    friend bool operator!=(const AlignedAllocator&, const AlignedAllocator&) { return false; }
};

template <class T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

/// Scratch memory for each of n workers, of which none is touched: a worker that resizes its own to
/// `size` numbers allocates nothing.
template <class T>
std::vector<AlignedVector<T>> scratch_of(int n_workers, Index size) {
    std::vector<AlignedVector<T>> scratch(static_cast<std::size_t>(n_workers > 1 ? n_workers : 1));
    for (AlignedVector<T>& mine : scratch) {
        mine.reserve(static_cast<std::size_t>(size));
    }
    return scratch;
}

}  // namespace kflow::detail
