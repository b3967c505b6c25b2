// Strongly connected components of a directed graph.
#pragma once

#include <cstdint>
#include <vector>

namespace phasic_mpi {

/// Directed graph: the targets of vertex v are col[ptr[v]] to col[ptr[v + 1] - 1].
struct Csr {
  std::vector<int64_t> ptr;  // n + 1
  std::vector<int32_t> col;
};

/// Whether a vertex without edges is a component of its own.
enum class Sinks : bool { left_out, counted };

/// Components, numbered in the order in which they are completed: every edge between components
/// leads to a smaller number.
struct StrongComponents {
  static constexpr int32_t kNone = -1;
  std::vector<int32_t> of;  // n, component of each vertex; kNone for those left out
  int32_t count = 0;
};

/// Iterative form of Tarjan (1972). O(vertices + edges).
StrongComponents strong_components(const Csr& graph, Sinks sinks);

}  // namespace phasic_mpi
