// Joining the patterns of a block's parts into that of the block.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "record.hpp"
#include "status.hpp"
#include "views.hpp"

namespace phasic_mpi {

/// The pattern of a part as `LuPattern` has it, and the vertices of the block that its rows are.
struct RecordedPart {
  std::span<const int32_t> vertex;  // n_recorded: own ones, then the boundary
  int32_t n_own = 0;
  std::span<const int32_t> order;
  std::span<const int64_t> row_ptr;
  std::span<const int64_t> upper_ptr;
  std::span<const int32_t> col;
};

/// Entries of all parts, which are those of the block.
size_t count_entries(std::span<const RecordedPart> parts);

/// Joins parts, given in the order of their elimination, to the pattern that `block` has under the
/// order of their vertices; its columns go to `col`, of `count_entries(parts)`, in place of those
/// of `pattern`. Everything that the parts say is checked: Status::bad_index if it does not fit the
/// block. O(entries).
Status join(const BlockView& block, std::span<const RecordedPart> parts, std::span<int32_t> col,
            LuPattern& pattern);

}  // namespace phasic_mpi
