#include "record.hpp"

#include <algorithm>
#include <bit>
#include <new>

#include "order.hpp"

namespace phasic_mpi {
namespace {

size_t at(int32_t index) { return static_cast<size_t>(index); }
size_t at(int64_t index) { return static_cast<size_t>(index); }

/// Rows of L and U one after another. Row i is what a depth-first search from the edges of row i
/// meets: vertices below i (they are in L, and the search goes on through their row of U) and
/// vertices above i (they are in U, and it stops there).
class SymbolicLu {
 public:
  SymbolicLu(const BlockView& block, std::span<const int32_t> order, LuPattern& out)
      : block_(block),
        order_(order),
        out_(out),
        n_(block.n()),
        position_(at(n_)),
        mark_(at(n_), -1),
        search_end_(at(n_)),
        pruned_(at(n_), 0),
        bits_((at(n_) + 63) / 64, 0) {
    for (int32_t i = 0; i < n_; ++i) position_[at(order_[at(i)])] = i;
  }

  Status run(const std::atomic<bool>& cancel) {
    constexpr int32_t kRowsPerCheck = 64;
    out_.row_ptr.assign(1, 0);
    out_.row_ptr.reserve(at(n_) + 1);
    out_.upper_ptr.clear();
    out_.upper_ptr.reserve(at(n_));
    out_.col.clear();
    out_.col.reserve(2 * block_.col.size());
    for (int32_t i = 0; i < n_; ++i) {
      if (i % kRowsPerCheck == 0 && cancel.load(std::memory_order_relaxed)) {
        return Status::cancelled;
      }
      search(i);
      append(lower_);
      out_.upper_ptr.push_back(static_cast<int64_t>(out_.col.size()));
      append(upper_);
      out_.row_ptr.push_back(static_cast<int64_t>(out_.col.size()));
      search_end_[at(i)] = out_.row_ptr.back();
      prune(i);
    }
    locate_edges();
    return Status::ok;
  }

 private:
  void search(int32_t i) {
    lower_.clear();
    upper_.clear();
    mark_[at(i)] = i;
    const size_t vertex = at(order_[at(i)]);
    for (int64_t edge = block_.row_ptr[vertex]; edge < block_.row_ptr[vertex + 1]; ++edge) {
      meet(i, position_[at(block_.col[at(edge)])]);
    }
    // lower_ grows while it is walked: it is the queue of the search as well as its result.
    for (size_t next = 0; next < lower_.size(); ++next) {
      const size_t row = at(lower_[next]);
      for (int64_t entry = out_.upper_ptr[row]; entry < search_end_[row]; ++entry) {
        meet(i, out_.col[at(entry)]);
      }
    }
  }

  void meet(int32_t i, int32_t target) {
    if (mark_[at(target)] == i) return;
    mark_[at(target)] = i;
    (target < i ? lower_ : upper_).push_back(target);
  }

  /// Appends `found` in ascending order: short lists are sorted, long ones read off a bit set.
  void append(std::vector<int32_t>& found) {
    if (found.empty()) return;
    const auto [low, high] = std::minmax_element(found.begin(), found.end());
    const size_t first = at(*low) / 64;
    const size_t last = at(*high) / 64;
    if (found.size() * kSortCost < last - first) {
      std::sort(found.begin(), found.end());
      out_.col.insert(out_.col.end(), found.begin(), found.end());
      return;
    }
    for (const int32_t target : found) bits_[at(target) / 64] |= uint64_t{1} << (target % 64);
    size_t write = out_.col.size();
    out_.col.resize(write + found.size());
    for (size_t word = first; word <= last; ++word) {
      for (uint64_t bits = bits_[word]; bits != 0; bits &= bits - 1) {
        out_.col[write++] = static_cast<int32_t>(word * 64) + std::countr_zero(bits);
      }
      bits_[word] = 0;
    }
  }

  /// Once L(i, k) and U(k, i) are both there, row i of U holds all that row k holds beyond i, so
  /// later searches need not look at row k beyond i.
  void prune(int32_t i) {
    for (int64_t entry = out_.row_ptr[at(i)]; entry < out_.upper_ptr[at(i)]; ++entry) {
      const size_t k = at(out_.col[at(entry)]);
      if (pruned_[k] != 0) continue;
      const auto begin = out_.col.begin() + out_.upper_ptr[k];
      const auto end = out_.col.begin() + out_.row_ptr[k + 1];
      const auto found = std::lower_bound(begin, end, i);
      if (found == end || *found != i) continue;
      search_end_[k] = found - out_.col.begin() + 1;
      pruned_[k] = 1;
    }
  }

  void locate_edges() {
    out_.edge_slot.resize(block_.col.size());
    for (int32_t vertex = 0; vertex < n_; ++vertex) {
      const size_t row = at(position_[at(vertex)]);
      const auto begin = out_.col.begin() + out_.row_ptr[row];
      const auto end = out_.col.begin() + out_.row_ptr[row + 1];
      for (int64_t edge = block_.row_ptr[at(vertex)]; edge < block_.row_ptr[at(vertex) + 1];
           ++edge) {
        const int32_t target = position_[at(block_.col[at(edge)])];
        out_.edge_slot[at(edge)] = std::lower_bound(begin, end, target) - out_.col.begin();
      }
    }
  }

  // Sorting one number costs about as much as reading this many words of the bit set.
  static constexpr size_t kSortCost = 8;

  const BlockView& block_;
  std::span<const int32_t> order_;
  LuPattern& out_;
  int32_t n_;
  std::vector<int32_t> position_;    // of each vertex in the order
  std::vector<int32_t> mark_;        // last row whose search met this vertex
  std::vector<int64_t> search_end_;  // where searches stop in each row of U
  std::vector<char> pruned_;
  std::vector<uint64_t> bits_;  // all zero between rows
  std::vector<int32_t> lower_;
  std::vector<int32_t> upper_;
};

}  // namespace

bool is_valid(const BlockView& block) {
  if (block.row_ptr.empty() || block.row_ptr.front() != 0) return false;
  if (block.row_ptr.back() != static_cast<int64_t>(block.col.size())) return false;
  for (int32_t row = 0; row < block.n(); ++row) {
    if (block.row_ptr[at(row)] > block.row_ptr[at(row) + 1]) return false;
    int32_t previous = -1;
    for (int64_t edge = block.row_ptr[at(row)]; edge < block.row_ptr[at(row) + 1]; ++edge) {
      // A pointer may overshoot before it comes back: check the column's own index as well.
      if (edge >= static_cast<int64_t>(block.col.size())) return false;
      const int32_t target = block.col[at(edge)];
      if (target <= previous || target >= block.n() || target == row) return false;
      previous = target;
    }
  }
  return true;
}

Status symbolic_lu(const BlockView& block, std::span<const int32_t> order,
                   const std::atomic<bool>& cancel, LuPattern& pattern) {
  return SymbolicLu(block, order, pattern).run(cancel);
}

Status record(const BlockView& block, const std::atomic<bool>& cancel, LuPattern& pattern) noexcept
    try {
  if (!is_valid(block)) return Status::bad_index;
  const Status ordered = elimination_order(block, cancel, pattern.order);
  if (ordered != Status::ok) return ordered;
  const Status filled = symbolic_lu(block, pattern.order, cancel, pattern);
  pattern.col.shrink_to_fit();
  return filled;
} catch (const std::bad_alloc&) {
  return Status::out_of_memory;
}

}  // namespace phasic_mpi
