// Strongly connected components of the transient vertices and the edges cut along them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace phasic_mpi {

/// The graph in block upper triangular form. "Position" counts transient vertices block by block,
/// sources first, by ascending vertex within a block; so edges between blocks lead to later
/// positions.
struct Components {
  std::vector<int64_t> block_ptr;     // n_blocks + 1, first position of each block
  std::vector<int32_t> vertex;        // n_transient, graph vertex at each position
  std::vector<int32_t> position;      // n_vertices, -1 where not transient
  std::vector<int64_t> internal_ptr;  // n_blocks + 1, first distinct internal edge of each block
  std::vector<int64_t> inner_ptr;     // n_transient + 1, CSR of distinct internal edges
  std::vector<int32_t> inner_col;     // local column within the block, ascending in a row
  std::vector<int64_t> off_ptr;       // n_transient + 1, CSR of distinct edges between blocks
  std::vector<int32_t> off_col;       // position of the target, ascending in a row
  std::vector<int64_t> edge_place;    // per edge: where its weight belongs, see below
};

/// Condenses the graph with edges source[e] -> target[e] (no self-loops). A vertex is transient if
/// an edge leaves it. `edge_place` is the index of the distinct internal edge for an edge within a
/// block; n_internal + index of the distinct edge between blocks; or n_internal + n_off + position
/// of the source for an edge to a vertex that is not transient. Indices must be in range.
/// O(vertices + edges), plus sorting rows.
Components condense(int32_t n_vertices, std::span<const int32_t> source,
                    std::span<const int32_t> target);

/// Vertices from which no vertex without outgoing edges can be reached, ascending.
std::vector<int32_t> trapped_vertices(int32_t n_vertices, std::span<const int32_t> source,
                                      std::span<const int32_t> target);

}  // namespace phasic_mpi
