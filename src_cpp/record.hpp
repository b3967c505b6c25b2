// Recording of a block or a part of one: elimination order and static pattern of L and U.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "status.hpp"
#include "views.hpp"

namespace phasic_mpi {

/// Pattern of L and U in elimination order. Row i belongs to vertex order[i]; its columns are
/// elimination positions without the diagonal, ascending: L below i, then U above it.
///
/// The pattern of a part has rows for its own vertices and for its boundary, which comes last, as
/// the part lists it; vertices below the part are neither counted nor numbered. Rows of the
/// boundary hold the columns of L that belong to own vertices. Edges have no slots: `join` gives
/// them.
struct LuPattern {
  std::vector<int32_t> order;      // n_recorded
  std::vector<int64_t> row_ptr;    // n_recorded + 1
  std::vector<int64_t> upper_ptr;  // n_recorded, where U starts in each row
  std::vector<int32_t> col;        // row_ptr[n_recorded]
  std::vector<int64_t> edge_slot;  // one per edge of a whole block: its entry in col
};

/// Chooses a fill-reducing order for `block` and fills in the pattern of L and U under it. A whole
/// block that is to be cut is recorded part by part. No pivoting is needed for an M-matrix, so the
/// pattern holds for all weights.
Status record(const BlockView& block, const std::atomic<bool>& cancel, LuPattern& pattern) noexcept;

/// True if pointers and columns are as BlockView says, so that the core may trust them.
bool is_valid(const BlockView& block);

/// Fills in the pattern under a given order of the vertices that are not below. Columns of L are
/// found in ascending order: the next one is the least vertex met so far, and it leads on to its
/// row of U, of which only what symmetric pruning leaves is looked at (Eisenstat and Liu 1992).
/// Runs of vertices that lead to the next one only are taken at once, so the time is linear in the
/// edges and the runs of entries where the pattern is symmetric.
Status symbolic_lu(const BlockView& block, std::span<const int32_t> order,
                   const std::atomic<bool>& cancel, LuPattern& pattern);

/// Finds the entry of each edge of a whole block among the columns of a pattern that has the rest.
void locate_edges(const BlockView& block, std::span<const int32_t> col, LuPattern& pattern);

}  // namespace phasic_mpi
