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

size_t at(int64_t index) { return static_cast<size_t>(index); }

void require(bool fits, const char* problem) {
  if (!fits) throw std::invalid_argument(problem);
}

template <class T>
void raise(size_t& most, T count) {
  most = std::max(most, static_cast<size_t>(count));
}

}  // namespace

Plan::Plan(const TraceView& trace, std::span<const int64_t> weight_slot, Supernodes supernodes)
    : trace_(trace),
      n_weights_(weight_slot.size()),
      exit_weight_(trace.n_transient(), -1),
      sparse_(trace.pattern_ptr.size() - 1),
      panels_(trace.pattern_ptr.size() - 1),
      supernodes_(trace.pattern_ptr.size() - 1) {
  require(std::is_sorted(weight_slot.begin(), weight_slot.end(), std::less_equal<>()),
          "weight_slot does not ascend strictly");
  require(weight_slot.empty() || (weight_slot.front() >= 0 && weight_slot.back() < trace.n_slots()),
          "weight_slot is out of range");
  require(n_weights_ <= at(std::numeric_limits<int32_t>::max()), "there are 2^31 weights or more");
  const std::vector<Block> blocks = place_edges(weight_slot, supernodes);
  for (const Use use : {Use::one, Use::one_complex, Use::many}) {
    ways_[static_cast<size_t>(use)] = make_way(blocks, use);
  }
  edges_ = EdgeMatrix(trace, weight_slot);
}

std::vector<Plan::Block> Plan::place_edges(std::span<const int64_t> weight_slot,
                                           Supernodes supernodes) {
  const auto index_of = [&](int64_t slot) {
    return std::ranges::lower_bound(weight_slot, slot) - weight_slot.begin();
  };
  const int64_t first_off_slot = trace_.value_ptr.back();
  const int64_t first_exit_slot = first_off_slot + trace_.off_ptr.back();
  const int64_t first_off = index_of(first_off_slot);
  int64_t exit = index_of(first_exit_slot);
  require(exit - first_off == trace_.off_ptr.back(), "an edge between blocks has no weight");
  for (size_t w = at(exit); w < n_weights_; ++w) {
    exit_weight_[at(weight_slot[w] - first_exit_slot)] = static_cast<int32_t>(w);
  }

  std::vector<Block> blocks(trace_.n_blocks());
  std::vector<int64_t> model(panels_.size(), -1);  // the first block of each pattern
  for (size_t b = 0; b < blocks.size(); ++b) {
    const int64_t first = trace_.block_ptr[b];
    const int64_t last = trace_.block_ptr[b + 1];
    const int64_t edge = index_of(trace_.value_ptr[b]);
    const int64_t n_exits = std::count_if(exit_weight_.begin() + first, exit_weight_.begin() + last,
                                          [](int32_t weight) { return weight >= 0; });
    Block& block = blocks[b];
    block = {first,
             last - first,
             edge,
             index_of(trace_.value_ptr[b + 1]) - edge,
             first_off + trace_.off_ptr[at(first)],
             trace_.off_ptr[at(last)] - trace_.off_ptr[at(first)],
             exit,
             n_exits,
             nullptr,
             nullptr,
             nullptr};
    exit += n_exits;
    if (trace_.block_pattern[b] < 0) continue;

    const size_t pattern = at(trace_.block_pattern[b]);
    const auto edges = weight_slot.subspan(at(edge), at(block.n_edges));
    if (model[pattern] < 0) {
      model[pattern] = static_cast<int64_t>(b);
      add_programs(pattern, trace_.value_ptr[b], edges, supernodes);
    } else {
      const Block& other = blocks[at(model[pattern])];
      const int64_t shift = trace_.value_ptr[b] - trace_.value_ptr[at(model[pattern])];
      require(std::ranges::equal(
                  edges, weight_slot.subspan(at(other.edge_weight), at(other.n_edges)),
                  [&](int64_t slot, int64_t other_slot) { return slot == other_slot + shift; }),
              "blocks of one pattern have different edges");
    }
    block.sparse = sparse_[pattern].get();
    block.panels = panels_[pattern].get();
    block.supernodes = supernodes_[pattern].get();
  }
  return blocks;
}

void Plan::add_programs(size_t pattern, int64_t first_slot, std::span<const int64_t> edge_slot,
                        Supernodes supernodes) {
  const size_t row = at(trace_.pattern_ptr[pattern]);
  const size_t n = at(trace_.pattern_ptr[pattern + 1]) - row;
  const PatternView view{trace_.order.subspan(row, n),
                         trace_.row_ptr.subspan(row, n + 1),
                         trace_.upper_ptr.subspan(row, n),
                         trace_.col.data(),
                         edge_slot,
                         first_slot};
  const int64_t n_products = count_products(view);
  if (n_products <= kDenseLanes * view.n_entries() &&
      n_products <= std::numeric_limits<int32_t>::max()) {
    sparse_[pattern] = std::make_unique<const SparseProgram>(view);
  }
  if (n_products > kDense * view.n_entries()) {
    panels_[pattern] = std::make_unique<const PanelProgram>(view);
  }
  if (supernodes == Supernodes::none) return;
  // What never pays need not be analysed.
  const double other_cost = PanelProgram::cost(n_products, view.n_entries());
  if (supernodes == Supernodes::by_cost && panels_[pattern] == nullptr) return;
  auto program = std::make_unique<const SupernodeProgram>(view);
  if (supernodes == Supernodes::all || program->cost() < other_cost) {
    supernodes_[pattern] = std::move(program);
  }
}

Plan::Way Plan::make_way(std::vector<Block> blocks, Use use) {
  Sizes sizes;
  for (Block& block : blocks) {
    raise(sizes.vertices, block.n);
    raise(sizes.edges, block.n_edges);
    raise(sizes.off, block.n_off);
    raise(sizes.exits, block.n_exits);
    // For several theta side by side, lists of places pay for longer.
    if (use != Use::many && block.panels != nullptr) block.sparse = nullptr;
    if (use != Use::one) block.supernodes = nullptr;
    if (block.supernodes != nullptr) {
      block.sparse = nullptr;
      block.panels = nullptr;
      raise(sizes.supernode_vertices, block.n);
      raise(sizes.supernode_values, block.supernodes->n_values);
    } else if (block.sparse != nullptr) {
      block.panels = nullptr;
      raise(sizes.sparse_entries, block.sparse->n_entries + SparseProgram::kMore);
    } else if (block.panels != nullptr) {
      raise(sizes.panel_vertices, block.n);
      raise(sizes.panel_upper, block.panels->upper_col.size());
      raise(sizes.lower, block.panels->n_lower);
      raise(sizes.lower_rows, block.panels->n_lower_rows);
    }
  }
  return {std::move(blocks), sizes};
}

}  // namespace phasic_mpi
