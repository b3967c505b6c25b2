// Nested dissection: separators of separators' sides, down to parts of a few hundred vertices.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "status.hpp"
#include "symmetric_pattern.hpp"
#include "task_pool.hpp"

namespace phasic_mpi {

/// A graph cut into parts. An edge leads from a part to itself, to one above it or to one below it
/// in the tree: parts in different branches only meet in the separators above both.
struct PartTree {
  static constexpr int32_t kNone = -1;
  std::vector<int32_t> parent;   // parts come after their parents; kNone for roots
  std::vector<int32_t> part_of;  // n, of each vertex; kNone for the dense ones, which are not cut
};

/// Cuts `pattern` (George 1973), with multilevel separators, until parts have at most
/// `leaf_vertices` >= 1, or no separator pays. Each side has an eighth of the vertices or more, so
/// the tree is O(log n) high, and an edge is looked at in as many searches. O(edges) memory
/// for each thread. The tree does not depend on the number of threads. `pool` may hold other tasks,
/// which are done as well.
Status dissect(const SymmetricPattern& pattern, int32_t leaf_vertices,
               const std::atomic<bool>& cancel, TaskPool& pool, PartTree& tree);

}  // namespace phasic_mpi
