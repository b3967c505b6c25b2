#include "plan.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <stdexcept>
#include <utility>

namespace phasic_mpi {
namespace {

// Products per entry from which panels beat lists of places, for one theta and for several.
constexpr int64_t kDense = 8;
constexpr int64_t kDenseLanes = 24;

// Nanoseconds of a block of one vertex and of an edge between blocks, and how much less blocks take
// for each of several theta side by side; those that dense panels of one theta pay for take more.
constexpr double kVertex = 10.0;
constexpr double kEdge = 2.0;
constexpr double kGain = 4.0;
constexpr double kLoss = 1.3;

size_t at(int64_t index) { return static_cast<size_t>(index); }

void require(bool fits, const char* problem) {
  if (!fits) throw std::invalid_argument(problem);
}

template <class T>
void raise(size_t& most, T count) {
  most = std::max(most, static_cast<size_t>(count));
}

/// To what a block with at most one program has.
void raise(Plan::Sizes& sizes, const Plan::Block& block) {
  raise(sizes.vertices, block.n);
  raise(sizes.edges, block.n_edges);
  raise(sizes.off, block.n_off);
  raise(sizes.exits, block.n_exits);
  if (block.sparse != nullptr) {
    raise(sizes.sparse_entries, block.sparse->n_entries + SparseProgram::kMore);
  }
  if (block.panels != nullptr) {
    raise(sizes.panel_vertices, block.n);
    raise(sizes.panel_upper, block.panels->upper_col.size());
    raise(sizes.lower, block.panels->n_lower);
    raise(sizes.lower_rows, block.panels->n_lower_rows);
  }
  if (block.supernodes != nullptr) {
    raise(sizes.supernode_vertices, block.n);
    raise(sizes.supernode_values, block.supernodes->n_values);
  }
}

}  // namespace

Plan::Plan(const TraceView& trace, std::span<const int64_t> weight_slot, Purpose purpose,
           Supernodes supernodes, size_t n_threads, Window window,
           std::shared_ptr<WorkspacePool> workspaces)
    : purpose_(purpose),
      n_weights_(weight_slot.size()),
      n_transient_(trace.n_transient()),
      n_products_(trace.pattern_ptr.size() - 1),
      sparse_(trace.pattern_ptr.size() - 1),
      panels_(trace.pattern_ptr.size() - 1),
      supernodes_(trace.pattern_ptr.size() - 1),
      workspaces_(std::move(workspaces)) {
  require(window.begin <= window.end && window.end <= trace.n_blocks(), "there are no such blocks");
  require(std::is_sorted(weight_slot.begin(), weight_slot.end(), std::less_equal<>()),
          "weight_slot does not ascend strictly");
  require(weight_slot.empty() || (weight_slot.front() >= 0 && weight_slot.back() < trace.n_slots()),
          "weight_slot is out of range");
  require(n_weights_ <= at(std::numeric_limits<int32_t>::max()), "there are 2^31 weights or more");
  first_ = trace.block_ptr[window.begin];
  const auto begin = trace.off_ptr.begin() + first_;
  const auto end = trace.off_ptr.begin() + trace.block_ptr[window.end];
  off_ptr_.assign(begin, end + 1);
  off_col_.assign(trace.off_col.begin() + *begin, trace.off_col.begin() + *end);
  exit_weight_.assign(at(end - begin), -1);
  std::vector<Block> blocks = place_edges(trace, weight_slot, supernodes, n_threads, window);
  if (purpose == Purpose::batches) {
    for (const Use use : {Use::one_complex, Use::many}) {
      ways_[static_cast<size_t>(use)] = make_way(blocks, use);
    }
    edges_ = EdgeMatrix(trace, weight_slot);
  }
  ways_[static_cast<size_t>(Use::one)] = make_way(std::move(blocks), Use::one);
  if (purpose == Purpose::batches) n_lanes_ = choose_lanes(trace);
}

std::vector<Plan::Block> Plan::place_edges(const TraceView& trace,
                                           std::span<const int64_t> weight_slot,
                                           Supernodes supernodes, size_t n_threads, Window window) {
  const auto index_of = [&](int64_t slot) {
    return std::ranges::lower_bound(weight_slot, slot) - weight_slot.begin();
  };
  const int64_t first_off_slot = trace.value_ptr.back();
  const int64_t first_exit_slot = first_off_slot + trace.off_ptr.back();
  const int64_t first_off = index_of(first_off_slot);
  require(index_of(first_exit_slot) - first_off == trace.off_ptr.back(),
          "an edge between blocks has no weight");
  const int64_t own_exit_slot = first_exit_slot + first_;
  int64_t exit = index_of(own_exit_slot);
  const int64_t last_exit = index_of(own_exit_slot + std::ssize(exit_weight_));
  for (int64_t w = exit; w < last_exit; ++w) {
    exit_weight_[at(weight_slot[at(w)] - own_exit_slot)] = static_cast<int32_t>(w);
  }

  std::vector<Block> blocks(window.end - window.begin);
  std::vector<int64_t> model(panels_.size(), -1);  // the first block of each pattern
  std::vector<Task> tasks;
  for (size_t b = window.begin; b < window.end; ++b) {
    const int64_t first = trace.block_ptr[b];
    const int64_t last = trace.block_ptr[b + 1];
    const int64_t edge = index_of(trace.value_ptr[b]);
    const auto exits = exit_weight_.begin() + (first - first_);
    const int64_t n_exits =
        std::count_if(exits, exits + (last - first), [](int32_t weight) { return weight >= 0; });
    Block& block = blocks[b - window.begin];
    block = {first,
             last - first,
             edge,
             index_of(trace.value_ptr[b + 1]) - edge,
             first_off + trace.off_ptr[at(first)],
             trace.off_ptr[at(last)] - trace.off_ptr[at(first)],
             exit,
             n_exits,
             nullptr,
             nullptr,
             nullptr};
    exit += n_exits;
    if (trace.block_pattern[b] < 0) continue;

    const size_t pattern = at(trace.block_pattern[b]);
    const auto edges = weight_slot.subspan(at(edge), at(block.n_edges));
    if (model[pattern] < 0) {
      model[pattern] = static_cast<int64_t>(b);
      const size_t row = at(trace.pattern_ptr[pattern]);
      const size_t n = at(block.n);
      const PatternView view{trace.order.subspan(row, n),
                             trace.row_ptr.subspan(row, n + 1),
                             trace.upper_ptr.subspan(row, n),
                             trace.col.data(),
                             edges,
                             trace.value_ptr[b]};
      tasks.push_back({pattern, view});
    } else {
      const Block& other = blocks[at(model[pattern]) - window.begin];
      const int64_t shift = trace.value_ptr[b] - trace.value_ptr[at(model[pattern])];
      require(std::ranges::equal(
                  edges, weight_slot.subspan(at(other.edge_weight), at(other.n_edges)),
                  [&](int64_t slot, int64_t other_slot) { return slot == other_slot + shift; }),
              "blocks of one pattern have different edges");
    }
  }
  add_programs(std::move(tasks), supernodes, n_threads);
  for (size_t b = window.begin; b < window.end; ++b) {
    if (trace.block_pattern[b] < 0) continue;
    const size_t pattern = at(trace.block_pattern[b]);
    Block& block = blocks[b - window.begin];
    block.sparse = sparse_[pattern].get();
    block.panels = panels_[pattern].get();
    block.supernodes = supernodes_[pattern].get();
  }
  return blocks;
}

/// The last to begin takes least.
void Plan::add_programs(std::vector<Task> tasks, Supernodes supernodes, size_t n_threads) {
  std::ranges::stable_sort(tasks, {}, [](const Task& task) { return task.view.n_entries(); });
  const size_t most = tasks.size() * (purpose_ == Purpose::batches ? 2 : 1);  // tasks there will be
  TaskPool pool(std::min(n_threads, most));
  for (const Task& task : tasks) {
    pool.add([this, &task, supernodes, &pool](size_t) {
      add_programs(task, supernodes, pool);
      return Status::ok;
    });
  }
  pool.run();
}

void Plan::add_programs(const Task& task, Supernodes supernodes, TaskPool& pool) {
  const PatternView& view = task.view;
  const int64_t n_products = count_products(view);
  n_products_[task.pattern] = n_products;
  const bool has_places = n_products <= std::numeric_limits<int32_t>::max();
  const bool is_dense = !has_places || n_products > kDense * view.n_entries();
  const bool is_for_one = purpose_ == Purpose::factors;
  const auto add_panels = [this, &task](size_t) {
    panels_[task.pattern] = std::make_unique<const PanelProgram>(task.view);
    return Status::ok;
  };
  if (is_dense && !is_for_one) pool.add(add_panels);
  // What never pays need not be analysed.
  if (supernodes == Supernodes::all || (supernodes == Supernodes::by_cost && is_dense)) {
    auto program = std::make_unique<const SupernodeProgram>(view);
    if (supernodes == Supernodes::all ||
        program->cost() < PanelProgram::cost(n_products, view.n_entries())) {
      supernodes_[task.pattern] = std::move(program);
      if (is_for_one) return;
    }
  }
  if (is_dense && is_for_one) add_panels(0);
  if (is_for_one ? !is_dense : has_places && n_products <= kDenseLanes * view.n_entries()) {
    sparse_[task.pattern] = std::make_unique<const SparseProgram>(view);
  }
}

/// By the time that one theta takes, alone and as one of several.
size_t Plan::choose_lanes(const TraceView& trace) const {
  double alone = 0.0;
  double beside = 0.0;
  for (const int32_t pattern : trace.block_pattern) {
    if (pattern < 0) {
      alone += kVertex;
      beside += kVertex / kGain;
      continue;
    }
    const int64_t n_products = n_products_[at(pattern)];
    const int64_t row = trace.pattern_ptr[at(pattern)];
    const int64_t end = trace.pattern_ptr[at(pattern) + 1];
    const int64_t n_entries = trace.row_ptr[at(end)] - trace.row_ptr[at(row)];
    const double cost = PanelProgram::cost(n_products, n_entries);
    const SupernodeProgram* const supernodes = supernodes_[at(pattern)].get();
    alone += supernodes == nullptr ? cost : supernodes->cost();
    beside += supernodes == nullptr ? cost / kGain : cost * kLoss;
  }
  const double off = kEdge * static_cast<double>(trace.off_col.size());
  if (alone + off < beside + off / kGain) return 1;
  return way(Use::many).sizes.panel_vertices > 0 ? 4 : 8;  // large blocks leave the cache with more
}

Plan::Sizes Plan::sizes_of(const Block& block) {
  Sizes sizes;
  raise(sizes, block);
  return sizes;
}

Plan::Way Plan::make_way(std::vector<Block> blocks, Use use) {
  Sizes sizes;
  for (Block& block : blocks) {
    // For several theta side by side, lists of places pay for longer.
    if (use != Use::many && block.panels != nullptr) block.sparse = nullptr;
    if (use != Use::one) block.supernodes = nullptr;
    if (block.supernodes != nullptr) {
      block.sparse = nullptr;
      block.panels = nullptr;
    } else if (block.sparse != nullptr) {
      block.panels = nullptr;
    }
    raise(sizes, block);
  }
  return {std::move(blocks), sizes};
}

}  // namespace phasic_mpi
