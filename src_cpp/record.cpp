#include "record.hpp"

#include <algorithm>
#include <new>
#include <numeric>

#include "ascending_set.hpp"
#include "cut.hpp"
#include "join.hpp"
#include "order.hpp"

namespace phasic_mpi {
namespace {

size_t at(int32_t index) { return static_cast<size_t>(index); }
size_t at(int64_t index) { return static_cast<size_t>(index); }

/// Rows of L and U one after another. Places count vertices below first, as they are listed: edges
/// between them lead to later ones, so their rows of U are their edges, and L has none.
class SymbolicLu {
 public:
  SymbolicLu(const BlockView& block, std::span<const int32_t> order, LuPattern& out)
      : block_(block),
        out_(out),
        n_below_(block.n_below),
        place_(at(block.n())),
        search_end_(at(block.n_recorded())),
        pruned_(at(block.n_recorded()), 0),
        run_end_(at(block.n_recorded())),
        met_(block.n()) {
    std::iota(place_.begin(), place_.begin() + n_below_, 0);
    for (int32_t i = 0; i < block.n_recorded(); ++i) {
      place_[at(n_below_ + order[at(i)])] = n_below_ + i;
      run_end_[at(i)] = i;
    }
    out_.order.assign(order.begin(), order.end());
  }

  Status run(const std::atomic<bool>& cancel) {
    constexpr int32_t kRowsPerCheck = 64;
    const int32_t n_rows = block_.n_recorded();
    const int32_t n_own = block_.n_own();
    out_.row_ptr.assign(1, 0);
    out_.row_ptr.reserve(at(n_rows) + 1);
    out_.upper_ptr.clear();
    out_.upper_ptr.reserve(at(n_rows));
    out_.col.clear();
    out_.col.reserve(2 * block_.col.size());
    for (int32_t i = 0; i < n_rows; ++i) {
      if (i % kRowsPerCheck == 0 && cancel.load(std::memory_order_relaxed)) {
        return Status::cancelled;
      }
      // Rows of the boundary stop at own vertices: nothing beyond them is met.
      end_ = i < n_own ? block_.n() : n_below_ + n_own;
      meet_edges(n_below_ + out_.order[at(i)]);
      find_lower(std::min(i, n_own));
      out_.upper_ptr.push_back(std::ssize(out_.col));
      if (i < n_own) {
        met_.remove_up_to(n_below_ + i);
        met_.drain(n_below_, out_.col);
      }
      out_.row_ptr.push_back(std::ssize(out_.col));
      if (i < n_own) {
        search_end_[at(i)] = out_.row_ptr.back();
        for (const int32_t k : searched_) prune(k, i);
      }
    }
    return Status::ok;
  }

 private:
  void meet_edges(int32_t vertex) {
    for (int64_t edge = block_.row_ptr[at(vertex)]; edge < block_.row_ptr[at(vertex) + 1]; ++edge) {
      const int32_t target = block_.col[at(edge)];
      if (target >= end_) return;
      met_.insert(place_[at(target)]);
    }
  }

  /// Writes the columns of L that are less than `limit`, and meets what they lead to.
  void find_lower(int32_t limit) {
    searched_.clear();
    for (int32_t least = met_.least(); least != AscendingSet::kNone; least = met_.least()) {
      if (least < n_below_) {
        met_.remove_up_to(least);
        meet_edges(least);
        continue;
      }
      const int32_t first = least - n_below_;
      if (first >= limit) return;
      const int32_t last = std::min(end_of_run(first), limit - 1);
      const size_t end = out_.col.size();
      out_.col.resize(end + at(last - first) + 1);
      std::iota(out_.col.begin() + static_cast<std::ptrdiff_t>(end), out_.col.end(), first);
      met_.remove_up_to(n_below_ + last);
      for (int64_t entry = out_.upper_ptr[at(last)]; entry < search_end_[at(last)]; ++entry) {
        const int32_t place = n_below_ + out_.col[at(entry)];
        if (place >= end_) break;
        met_.insert(place);
      }
      if (pruned_[at(last)] == 0) searched_.push_back(last);
    }
  }

  /// The last vertex of the run that `first` is in; shortens the way for the next search.
  int32_t end_of_run(int32_t first) {
    int32_t end = first;
    while (run_end_[at(end)] != end) end = run_end_[at(end)];
    while (run_end_[at(first)] != end) first = std::exchange(run_end_[at(first)], end);
    return end;
  }

  /// Once L(i, k) and U(k, i) are both there, row i of U holds all that row k holds beyond i, so
  /// later searches need not look at row k beyond i.
  void prune(int32_t k, int32_t i) {
    const auto begin = out_.col.begin() + out_.upper_ptr[at(k)];
    const auto end = out_.col.begin() + out_.row_ptr[at(k) + 1];
    const auto found = std::lower_bound(begin, end, i);
    if (found == end || *found != i) return;
    search_end_[at(k)] = found - out_.col.begin() + 1;
    pruned_[at(k)] = 1;
    if (i == k + 1) run_end_[at(k)] = i;
  }

  const BlockView& block_;
  LuPattern& out_;
  int32_t n_below_;
  int32_t end_ = 0;                  // of the places, and of the vertices, that a row may meet
  std::vector<int32_t> place_;       // of each vertex
  std::vector<int64_t> search_end_;  // of each own row of U: where searches stop
  std::vector<char> pruned_;
  std::vector<int32_t> run_end_;   // of each row: one further in its run, or itself
  AscendingSet met_;               // places; empty between rows
  std::vector<int32_t> searched_;  // of the present row: rows that were not pruned
};

/// Edges lead where a part may have them: not between its boundary, and on from what is below it.
bool fits_its_part(const BlockView& block, int32_t row, int32_t target) {
  if (row >= block.n() - block.n_boundary) return target < block.n() - block.n_boundary;
  return row >= block.n_below || target > row;
}

Status record_in_parts(const BlockView& block, const std::vector<Part>& parts,
                       const std::atomic<bool>& cancel, LuPattern& pattern) {
  std::vector<LuPattern> patterns(parts.size());
  std::vector<RecordedPart> recorded;
  for (size_t part = 0; part < parts.size(); ++part) {
    const Status status = record(parts[part].view(), cancel, patterns[part]);
    if (status != Status::ok) return status;
    const LuPattern& own = patterns[part];
    recorded.push_back({parts[part].vertex, parts[part].view().n_own(), own.order, own.row_ptr,
                        own.upper_ptr, own.col});
  }
  pattern.col.resize(count_entries(recorded));
  return join(block, recorded, pattern.col, pattern);
}

Status record_whole(const BlockView& block, const std::atomic<bool>& cancel, LuPattern& pattern) {
  std::vector<Part> parts;
  std::vector<int32_t> order;
  Status status = cut_or_order(block, cancel, 1, parts, order);
  if (status != Status::ok) return status;
  if (!parts.empty()) return record_in_parts(block, parts, cancel, pattern);
  status = symbolic_lu(block, order, cancel, pattern);
  if (status == Status::ok) locate_edges(block, pattern.col, pattern);
  return status;
}

Status record_part(const BlockView& block, const std::atomic<bool>& cancel, LuPattern& pattern) {
  std::vector<int32_t> order;
  const Status status = part_order(block, cancel, order);
  return status == Status::ok ? symbolic_lu(block, order, cancel, pattern) : status;
}

}  // namespace

bool is_valid(const BlockView& block) {
  if (block.row_ptr.empty() || block.row_ptr.front() != 0) return false;
  if (block.row_ptr.back() != static_cast<int64_t>(block.col.size())) return false;
  if (block.n_below < 0 || block.n_boundary < 0) return false;
  const int64_t n_others = int64_t{block.n_below} + block.n_boundary;
  if (n_others > 0 && n_others >= block.n()) return false;  // a part has vertices of its own
  for (int32_t row = 0; row < block.n(); ++row) {
    if (block.row_ptr[at(row)] > block.row_ptr[at(row) + 1]) return false;
    int32_t previous = -1;
    for (int64_t edge = block.row_ptr[at(row)]; edge < block.row_ptr[at(row) + 1]; ++edge) {
      // A pointer may overshoot before it comes back: check the column's own index as well.
      if (edge >= static_cast<int64_t>(block.col.size())) return false;
      const int32_t target = block.col[at(edge)];
      if (target <= previous || target >= block.n() || target == row) return false;
      if (block.is_part() && !fits_its_part(block, row, target)) return false;
      previous = target;
    }
  }
  return true;
}

Status symbolic_lu(const BlockView& block, std::span<const int32_t> order,
                   const std::atomic<bool>& cancel, LuPattern& pattern) {
  return SymbolicLu(block, order, pattern).run(cancel);
}

void locate_edges(const BlockView& block, std::span<const int32_t> col, LuPattern& pattern) {
  std::vector<int32_t> position(pattern.order.size());
  for (size_t i = 0; i < pattern.order.size(); ++i) {
    position[at(pattern.order[i])] = static_cast<int32_t>(i);
  }
  pattern.edge_slot.resize(block.col.size());
  for (int32_t vertex = 0; vertex < block.n(); ++vertex) {
    const size_t row = at(position[at(vertex)]);
    const auto begin = col.begin() + pattern.row_ptr[row];
    const auto end = col.begin() + pattern.row_ptr[row + 1];
    for (int64_t edge = block.row_ptr[at(vertex)]; edge < block.row_ptr[at(vertex) + 1]; ++edge) {
      const int32_t target = position[at(block.col[at(edge)])];
      pattern.edge_slot[at(edge)] = std::lower_bound(begin, end, target) - col.begin();
    }
  }
}

Status record(const BlockView& block, const std::atomic<bool>& cancel, LuPattern& pattern) noexcept
    try {
  if (!is_valid(block)) return Status::bad_index;
  const Status status =
      block.is_part() ? record_part(block, cancel, pattern) : record_whole(block, cancel, pattern);
  pattern.col.shrink_to_fit();
  return status;
} catch (const std::bad_alloc&) {
  return Status::out_of_memory;
}

}  // namespace phasic_mpi
