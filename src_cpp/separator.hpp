// Vertex separators of graphs: few vertices whose removal leaves two sides apart.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "refiner.hpp"
#include "status.hpp"

namespace phasic_mpi {

/// Multilevel search for a separator: pairs along heavy edges become one vertex until few are left,
/// which are separated in several ways; the best is refined on the way back (Karypis and Kumar
/// 1998). Random numbers start from the same seed in every search: the result depends on the graph
/// alone. O(edges) memory, kept from call to call; time is O(edges) besides the moves of
/// refinement.
class Separator {
 public:
  Separator() : level_(1) {}

  /// Graph to search, to be filled in before.
  WeightedGraph& graph() { return level_.front().graph; }

  /// Finds the side of each vertex. A side has at most 65 % of the weight if that is possible; a
  /// separator of all vertices but few is possible, so it is for the caller to judge.
  Status find(const std::atomic<bool>& cancel, std::vector<uint8_t>& side);

 private:
  struct Level {
    WeightedGraph graph;
    std::vector<int32_t> coarse;  // of each vertex: its vertex in the next level
  };

  bool coarsen(size_t depth);
  void match(const WeightedGraph& graph);
  void match_vertex(const WeightedGraph& graph, int32_t vertex, int32_t heaviest);
  int32_t number_pairs(std::vector<int32_t>& coarse);
  void contract(const Level& fine, int32_t n_coarse, WeightedGraph& coarse);
  void separate_coarsest(const WeightedGraph& graph, std::vector<uint8_t>& side);
  void grow(const WeightedGraph& graph, int32_t seed, std::vector<uint8_t>& side);
  void project(const std::vector<int32_t>& coarse, std::vector<uint8_t>& side);
  int32_t random(int32_t below);

  std::vector<Level> level_;
  SeparatorRefiner refiner_;
  int64_t total_ = 0;  // weight of all vertices
  int64_t most_ = 0;   // of one side
  uint64_t random_state_ = 0;
  std::vector<int32_t> blocks_;   // numbers of blocks of vertices, in the order they are matched
  std::vector<int32_t> partner_;  // of each vertex: itself if it is alone, kNone if not matched yet
  std::vector<int32_t> first_;    // of each coarse vertex: the first vertex of its pair
  std::vector<int64_t> entry_;    // of each coarse vertex: its entry in the row being made
  std::vector<int32_t> queue_;
  std::vector<uint8_t> trial_;
};

}  // namespace phasic_mpi
