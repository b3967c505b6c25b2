#include "plan.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <stdexcept>

namespace phasic_mpi {
namespace {

size_t at(int64_t index) { return static_cast<size_t>(index); }

void require(bool fits, const char* problem) {
  if (!fits) throw std::invalid_argument(problem);
}

}  // namespace

Plan::Plan(const TraceView& trace, std::span<const int64_t> weight_slot)
    : trace_(trace), n_weights_(weight_slot.size()), exit_weight_(trace.n_transient(), -1) {
  require(std::is_sorted(weight_slot.begin(), weight_slot.end(), std::less_equal<>()),
          "weight_slot does not ascend strictly");
  require(weight_slot.empty() || (weight_slot.front() >= 0 && weight_slot.back() < trace.n_slots()),
          "weight_slot is out of range");
  require(n_weights_ <= at(std::numeric_limits<int32_t>::max()), "there are 2^31 weights or more");
  place_edges(weight_slot);
  find_chains();
  for (size_t b = 0; b < n_blocks(); ++b) {
    largest_block_ = std::max(largest_block_, trace.block_ptr[b + 1] - trace.block_ptr[b]);
    most_entries_ = std::max(most_entries_, trace.value_ptr[b + 1] - trace.value_ptr[b]);
  }
  edges_ = EdgeMatrix(*this);
}

Plan::Block Plan::block(size_t index) const {
  const int64_t first = trace_.block_ptr[index];
  const int32_t pattern = trace_.block_pattern[index];
  const int64_t row = pattern < 0 ? -1 : trace_.pattern_ptr[at(pattern)];
  return {first, trace_.block_ptr[index + 1] - first, row, block_weight_[index]};
}

void Plan::place_edges(std::span<const int64_t> weight_slot) {
  const auto index_of = [&](int64_t slot) {
    return std::lower_bound(weight_slot.begin(), weight_slot.end(), slot) - weight_slot.begin();
  };
  // Entries of each pattern that are edges, from the first block that has it.
  const size_t n_patterns = trace_.pattern_ptr.size() - 1;
  std::vector<int64_t> model(n_patterns, -1);
  std::vector<int64_t> model_end(n_patterns, -1);
  block_weight_.resize(n_blocks() + 1);
  for (size_t b = 0; b < n_blocks(); ++b) {
    const int64_t begin = index_of(trace_.value_ptr[b]);
    const int64_t end = index_of(trace_.value_ptr[b + 1]);
    block_weight_[b] = begin;
    if (trace_.block_pattern[b] < 0) continue;
    const size_t pattern = at(trace_.block_pattern[b]);
    if (model[pattern] < 0) {
      model[pattern] = static_cast<int64_t>(b);
      model_end[pattern] = end;
      continue;
    }
    const size_t other = at(model[pattern]);
    const int64_t shift = trace_.value_ptr[b] - trace_.value_ptr[other];
    const int64_t first = block_weight_[other];
    bool same = end - begin == model_end[pattern] - first;
    for (int64_t w = begin; same && w < end; ++w) {
      same = weight_slot[at(w)] == weight_slot[at(first + w - begin)] + shift;
    }
    require(same, "blocks of one pattern have different edges");
  }
  block_weight_.back() = index_of(trace_.value_ptr.back());

  edge_ptr_.assign(1, 0);
  edge_ptr_.reserve(trace_.order.size() + 1);
  for (size_t pattern = 0; pattern < n_patterns; ++pattern) {
    const int64_t first_row = trace_.pattern_ptr[pattern];
    const int64_t last_row = trace_.pattern_ptr[pattern + 1];
    int64_t weight = model[pattern] < 0 ? 0 : block_weight_[at(model[pattern])];
    const int64_t end = model_end[pattern] < 0 ? 0 : model_end[pattern];
    const int64_t shift =
        model[pattern] < 0 ? 0
                           : trace_.row_ptr[at(first_row)] - trace_.value_ptr[at(model[pattern])];
    for (int64_t row = first_row; row < last_row; ++row) {
      const int64_t row_end = trace_.row_ptr[at(row) + 1];
      for (; weight < end && weight_slot[at(weight)] + shift < row_end; ++weight) {
        edge_col_.push_back(trace_.col[at(weight_slot[at(weight)] + shift)]);
      }
      edge_ptr_.push_back(static_cast<int64_t>(edge_col_.size()));
    }
  }

  first_off_weight_ = block_weight_.back();
  const int64_t first_exit = trace_.value_ptr.back() + trace_.off_ptr.back();
  const int64_t exits = index_of(first_exit);
  require(exits - first_off_weight_ == trace_.off_ptr.back(),
          "an edge between blocks has no weight");
  for (int64_t w = exits; w < static_cast<int64_t>(n_weights_); ++w) {
    exit_weight_[at(weight_slot[at(w)] - first_exit)] = static_cast<int32_t>(w);
  }
}

void Plan::find_chains() {
  chain_end_.resize(trace_.order.size());
  for (size_t pattern = 0; pattern + 1 < trace_.pattern_ptr.size(); ++pattern) {
    const int64_t first = trace_.pattern_ptr[pattern];
    const int64_t n = trace_.pattern_ptr[pattern + 1] - first;
    for (int64_t k = n; k-- > 0;) {
      const size_t row = at(first + k);
      chain_end_[row] = static_cast<int32_t>(k + 1);
      if (k + 1 == n) continue;
      const auto begin = trace_.col.begin() + trace_.upper_ptr[row];
      const auto end = trace_.col.begin() + trace_.row_ptr[row + 1];
      const auto next = trace_.col.begin() + trace_.upper_ptr[row + 1];
      const auto next_end = trace_.col.begin() + trace_.row_ptr[row + 2];
      if (begin != end && *begin == k + 1 && std::equal(begin + 1, end, next, next_end)) {
        chain_end_[row] = chain_end_[row + 1];
      }
    }
  }
}

}  // namespace phasic_mpi
