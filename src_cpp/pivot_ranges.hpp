// Which pivots of a block are better eliminated together.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "elimination.hpp"

namespace phasic_mpi {

/// Consecutive pivots first..end - 1.
struct PivotRange {
  int32_t first;
  int32_t end;
  int32_t parent;  // the first later pivot that any of them meets, or -1: of the elimination tree

  [[nodiscard]] int64_t width() const { return end - first; }
};

/// Calls `visit` with the row and the column of every edge, in their order.
template <class Visit>
void visit_edges(const PatternView& pattern, const Visit& visit) {
  const int64_t base = pattern.row_ptr.front();
  size_t row = 0;
  for (const int64_t slot : pattern.edge_slot) {
    const int64_t entry = slot - pattern.first_slot + base;
    while (entry >= pattern.row_ptr[row + 1]) ++row;
    visit(static_cast<int32_t>(row), pattern.col[entry]);
  }
}

/// Pivots that share their pattern, L and U taken together, or nearly do. All ranges in ascending
/// order; what one of them adds to later pivots goes to its ancestors. O(entries of L + U).
std::vector<PivotRange> find_pivot_ranges(const PatternView& pattern);

}  // namespace phasic_mpi
