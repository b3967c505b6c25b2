// What replay derives from a trace once: where the weights go and which rows share their columns.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "edge_matrix.hpp"
#include "replay.hpp"

namespace phasic_mpi {

/// A trace with the weights that fill it. One weight belongs to each slot that an edge adds to;
/// weights are numbered by ascending slot: internal edges block after block, edges between blocks,
/// exit rates.
class Plan {
 public:
  /// `weight_slot` ascends strictly, and holds every slot of an edge between blocks.
  /// The arrays behind both must outlive the plan. Throws std::invalid_argument if they do not fit.
  Plan(const TraceView& trace, std::span<const int64_t> weight_slot);

  /// One diagonal block: pattern rows, and where its weights begin.
  struct Block {
    int64_t first;  // position of its first vertex
    int64_t n;
    int64_t row;     // first row of its pattern, -1 for a block of one vertex
    int64_t weight;  // of its first internal edge
  };

  [[nodiscard]] const TraceView& trace() const { return trace_; }
  [[nodiscard]] size_t n_weights() const { return n_weights_; }
  [[nodiscard]] size_t n_blocks() const { return trace_.n_blocks(); }
  [[nodiscard]] size_t n_transient() const { return trace_.n_transient(); }
  [[nodiscard]] Block block(size_t index) const;
  [[nodiscard]] int64_t first_off_weight() const { return first_off_weight_; }

  /// Weight of the exit rate at each position, -1 where there is none.
  [[nodiscard]] std::span<const int32_t> exit_weight() const { return exit_weight_; }
  /// Internal edges of each pattern row, n_rows + 1, and their columns.
  [[nodiscard]] std::span<const int64_t> edge_ptr() const { return edge_ptr_; }
  [[nodiscard]] std::span<const int32_t> edge_col() const { return edge_col_; }
  /// For each pattern row, one past the last row of its supernode, within the pattern. Row k + 1
  /// belongs to the supernode of row k if U holds (k, k + 1) and row k beyond it equals row k + 1.
  [[nodiscard]] std::span<const int32_t> chain_end() const { return chain_end_; }

  [[nodiscard]] const EdgeMatrix& edges() const { return edges_; }

  [[nodiscard]] int64_t largest_block() const { return largest_block_; }
  [[nodiscard]] int64_t most_entries() const { return most_entries_; }

 private:
  void place_edges(std::span<const int64_t> weight_slot);
  void find_chains();

  TraceView trace_;
  size_t n_weights_;
  std::vector<int64_t> block_weight_;
  std::vector<int64_t> edge_ptr_;
  std::vector<int32_t> edge_col_;
  std::vector<int32_t> chain_end_;
  std::vector<int32_t> exit_weight_;
  int64_t first_off_weight_ = 0;
  int64_t largest_block_ = 1;
  int64_t most_entries_ = 0;
  EdgeMatrix edges_;
};

}  // namespace phasic_mpi
