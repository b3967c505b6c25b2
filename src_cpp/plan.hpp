// What replay derives from a trace once: where the weights go and how each pattern is eliminated.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "edge_matrix.hpp"
#include "elimination.hpp"
#include "supernodes.hpp"
#include "task_pool.hpp"
#include "trace_view.hpp"
#include "workspace.hpp"

namespace phasic_mpi {

/// What becomes of a trace and the weights that fill it; holds no array of either. One weight
/// belongs to each slot that an edge adds to; weights are numbered by ascending slot: internal
/// edges block after block, edges between blocks, exit rates.
class Plan {
 public:
  /// What it is for: batches of any kind, or factors of one theta with real numbers alone, for
  /// which it takes less time and memory.
  enum class Purpose { batches, factors };
  /// Which blocks are eliminated in dense panels where there is one theta.
  enum class Supernodes { by_cost, all, none };

  /// Consecutive blocks of a trace.
  struct Window {
    size_t begin;
    size_t end;
  };

  /// Made by `n_threads`, at least 1. `weight_slot` ascends strictly, and holds every slot of an
  /// edge between blocks. Throws std::invalid_argument if it does not fit.
  Plan(const TraceView& trace, std::span<const int64_t> weight_slot, Purpose purpose,
       Supernodes supernodes, size_t n_threads)
      : Plan(trace, weight_slot, purpose, supernodes, n_threads, {0, trace.n_blocks()},
             std::make_shared<WorkspacePool>()) {}

  /// Of a window alone; positions and weights keep their numbers in the whole trace. Plans may hand
  /// on their memory by sharing `workspaces`.
  Plan(const TraceView& trace, std::span<const int64_t> weight_slot, Purpose purpose,
       Supernodes supernodes, size_t n_threads, Window window,
       std::shared_ptr<WorkspacePool> workspaces);

  /// One diagonal block and its ranges of weights. It has one program, or none if it is one vertex.
  struct Block {
    int64_t first;  // position of its first vertex
    int64_t n;
    int64_t edge_weight;
    int64_t n_edges;
    int64_t off_weight;
    int64_t n_off;
    int64_t exit_weight;
    int64_t n_exits;
    const SparseProgram* sparse;
    const PanelProgram* panels;
    const SupernodeProgram* supernodes;
  };
  /// The most of anything that a block has.
  struct Sizes {
    size_t vertices = 1;
    size_t edges = 0;
    size_t off = 0;
    size_t exits = 0;
    size_t sparse_entries = 0;
    size_t panel_vertices = 0;
    size_t panel_upper = 0;
    size_t lower = 0;  // see PanelProgram
    size_t lower_rows = 0;
    size_t supernode_vertices = 0;
    size_t supernode_values = 0;
  };
  /// What a way is for: one theta with real or complex numbers, or several theta side by side.
  enum class Use { one, one_complex, many };
  /// How to go through the blocks.
  struct Way {
    std::vector<Block> blocks;  // in topological order
    Sizes sizes;
  };

  [[nodiscard]] size_t n_weights() const { return n_weights_; }
  [[nodiscard]] size_t n_transient() const { return n_transient_; }
  /// Position of the first vertex.
  [[nodiscard]] int64_t first() const { return first_; }
  /// Vertices of the window.
  [[nodiscard]] size_t n_vertices() const { return exit_weight_.size(); }
  [[nodiscard]] const Way& way(Use use) const { return ways_[static_cast<size_t>(use)]; }

  /// What one block has.
  [[nodiscard]] static Sizes sizes_of(const Block& block);

  /// Edges between blocks, row by row, of the vertices of the window: where the row of each starts,
  /// and the position that each edge leads to.
  [[nodiscard]] std::span<const int64_t> off_ptr() const { return off_ptr_; }
  [[nodiscard]] std::span<const int32_t> off_col() const { return off_col_; }

  /// Weight of the exit rate of each vertex of the window, -1 where there is none.
  [[nodiscard]] std::span<const int32_t> exit_weight() const { return exit_weight_; }
  [[nodiscard]] const EdgeMatrix& edges() const { return edges_; }

  /// How many theta to factor side by side, or 1 if one by one is faster; with real numbers.
  [[nodiscard]] size_t n_lanes() const { return n_lanes_; }

  /// Memory for threads that solve.
  [[nodiscard]] WorkspacePool& workspaces() const { return *workspaces_; }

 private:
  /// A pattern, of which programs are to be made.
  struct Task {
    size_t pattern;
    PatternView view;
  };

  [[nodiscard]] std::vector<Block> place_edges(const TraceView& trace,
                                               std::span<const int64_t> weight_slot,
                                               Supernodes supernodes, size_t n_threads,
                                               Window window);
  void add_programs(std::vector<Task> tasks, Supernodes supernodes, size_t n_threads);
  void add_programs(const Task& task, Supernodes supernodes, TaskPool& pool);
  [[nodiscard]] static Way make_way(std::vector<Block> blocks, Use use);
  [[nodiscard]] size_t choose_lanes(const TraceView& trace) const;

  Purpose purpose_;
  size_t n_weights_;
  size_t n_transient_;
  int64_t first_;
  std::vector<int64_t> off_ptr_;
  std::vector<int32_t> off_col_;
  std::vector<int32_t> exit_weight_;
  std::vector<int64_t> n_products_;                           // of each pattern
  std::vector<std::unique_ptr<const SparseProgram>> sparse_;  // or null
  std::vector<std::unique_ptr<const PanelProgram>> panels_;
  std::vector<std::unique_ptr<const SupernodeProgram>> supernodes_;
  std::array<Way, 3> ways_;
  size_t n_lanes_ = 1;
  EdgeMatrix edges_;
  std::shared_ptr<WorkspacePool> workspaces_;
};

}  // namespace phasic_mpi
