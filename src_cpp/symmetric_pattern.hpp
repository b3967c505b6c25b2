// Pattern of a block with the directions of its edges dropped.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "views.hpp"

namespace phasic_mpi {

/// Symmetric pattern without diagonal, as CSR. There is room behind the last entry for those who
/// rewrite it: `capacity` is at least ptr[n] + n.
struct SymmetricPattern {
  std::vector<int64_t> ptr;        // n + 1
  std::unique_ptr<int32_t[]> col;  // capacity, of which ptr[n] entries are in use
  int64_t capacity;

  [[nodiscard]] int32_t n() const { return static_cast<int32_t>(ptr.size() - 1); }
  [[nodiscard]] std::span<const int32_t> neighbours(int32_t vertex) const {
    const auto row = static_cast<size_t>(vertex);
    return {col.get() + ptr[row], col.get() + ptr[row + 1]};
  }
  [[nodiscard]] SymmetricPattern clone() const;
};

/// The pattern of B + B^T. `block` must be valid.
SymmetricPattern symmetric_pattern(const BlockView& block);

/// Neighbours from which on a vertex is dense: orders set it aside, to be eliminated last. It would
/// be updated at nearly every step and still come out near the end.
int32_t dense_limit(int32_t n);

}  // namespace phasic_mpi
