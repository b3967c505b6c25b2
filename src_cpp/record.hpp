// Recording of one block: elimination order and static pattern of L and U.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "status.hpp"
#include "views.hpp"

namespace phasic_mpi {

/// Pattern of L and U of a block in elimination order. Row i belongs to vertex order[i]; its
/// columns are elimination positions without the diagonal, ascending: L below i, then U above it.
struct LuPattern {
  std::vector<int32_t> order;      // n
  std::vector<int64_t> row_ptr;    // n + 1
  std::vector<int64_t> upper_ptr;  // n, where U starts in each row
  std::vector<int32_t> col;        // row_ptr[n]
  std::vector<int64_t> edge_slot;  // one per edge of the block: its entry in col
};

/// Chooses a fill-reducing order for `block` and fills in the pattern of L and U under it.
/// No pivoting is needed for an M-matrix, so the pattern holds for all weights.
Status record(const BlockView& block, const std::atomic<bool>& cancel, LuPattern& pattern) noexcept;

/// True if pointers and columns are as BlockView says, so that the core may trust them.
bool is_valid(const BlockView& block);

/// Fills in the pattern under a given order: O(nnz(L) + nnz(U)) for structurally symmetric blocks,
/// by depth-first search over symmetrically pruned rows of U (Eisenstat and Liu 1992).
Status symbolic_lu(const BlockView& block, std::span<const int32_t> order,
                   const std::atomic<bool>& cancel, LuPattern& pattern);

}  // namespace phasic_mpi
