#include "elimination.hpp"

#include <algorithm>
#include <iterator>
#include <ranges>
#include <stdexcept>

namespace phasic_mpi {
namespace {

size_t at(int64_t index) { return static_cast<size_t>(index); }

/// One past the last row of each row's supernode. Row k + 1 belongs to the supernode of row k if U
/// holds (k, k + 1) and row k beyond it equals row k + 1.
std::vector<int32_t> supernode_ends(const PatternView& pattern) {
  std::vector<int32_t> ends(pattern.n());
  for (size_t k = pattern.n(); k-- > 0;) {
    ends[k] = static_cast<int32_t>(k + 1);
    const std::span<const int32_t> own = pattern.upper(k);
    if (own.empty() || own.front() != ends[k]) continue;
    if (std::ranges::equal(own.subspan(1), pattern.upper(k + 1))) ends[k] = ends[k + 1];
  }
  return ends;
}

/// Loading and storing a row costs about as much as so many updates.
constexpr int64_t kRowCost = 4;

int64_t cost_of(const PatternView& pattern, std::span<const int32_t> lower) {
  int64_t cost = 0;
  for (const int32_t k : lower) {
    cost += kRowCost + static_cast<int64_t>(pattern.upper(at(k)).size());
  }
  return cost;
}

/// Rows before `first` that some row of the panel has in L; whether rows side by side cost less.
bool join_lower(const PatternView& pattern, size_t first, std::vector<int32_t>& lower) {
  if (first + PanelProgram::kRows > pattern.n()) return false;
  int64_t apart = cost_of(pattern, lower);
  int64_t within = 0;
  std::vector<int32_t> joined;
  for (size_t row = first + 1; row < first + PanelProgram::kRows; ++row) {
    const std::span<const int32_t> own = pattern.lower(row);
    const auto middle = std::ranges::lower_bound(own, static_cast<int32_t>(first));
    joined.clear();
    std::set_union(lower.begin(), lower.end(), own.begin(), middle, std::back_inserter(joined));
    lower.swap(joined);
    apart += cost_of(pattern, own);
    within += kRowCost + static_cast<int64_t>(pattern.upper(row - 1).size());
  }
  return 2 * (cost_of(pattern, lower) + within) < apart;
}

constexpr const char* kLacksFill = "a pattern lacks entries that its elimination fills in";

/// Where an entry lies that a search for `column` in a row has led to.
int32_t place_of(const PatternView& pattern, const int32_t* found) {
  return static_cast<int32_t>(found - pattern.col - pattern.row_ptr.front());
}

/// Entry of L, or one that is always 0 if the row has none in this column.
int32_t entry_of(const PatternView& pattern, int32_t row, size_t column) {
  const std::span<const int32_t> lower = pattern.lower(at(row));
  const auto found = std::ranges::lower_bound(lower, static_cast<int32_t>(column));
  if (found == lower.end() || at(*found) != column) {
    return static_cast<int32_t>(pattern.n_entries()) + SparseProgram::kZero;
  }
  return place_of(pattern, &*found);
}

}  // namespace

int64_t count_products(const PatternView& pattern) {
  int64_t total = 0;
  for (size_t row = 0; row < pattern.n(); ++row) {
    for (const int32_t k : pattern.lower(row)) {
      total += static_cast<int64_t>(pattern.upper(at(k)).size());
    }
  }
  return total;
}

SparseProgram::SparseProgram(const PatternView& pattern)
    : n_entries(static_cast<int32_t>(pattern.n_entries())) {
  const size_t n = pattern.n();
  int32_t next = 0;
  for (const int64_t slot : pattern.edge_slot) {
    edge_entry.push_back(static_cast<int32_t>(slot - pattern.first_slot));
    while (next < edge_entry.back()) fill_entry.push_back(next++);
    ++next;
  }
  while (next < n_entries) fill_entry.push_back(next++);

  std::vector<std::vector<int32_t>> rows(n);  // that have each column in L
  for (size_t row = 0; row < n; ++row) {
    for (const int32_t k : pattern.lower(row)) rows[at(k)].push_back(static_cast<int32_t>(row));
  }
  const std::vector<int32_t> ends = supernode_ends(pattern);
  for (size_t k = 0; k < n; ++k) {
    const auto later = static_cast<int32_t>(k + 1);
    // Rows after the next that have the pivot also have the next one, if both are of a supernode.
    const auto beyond = std::ranges::upper_bound(rows[k], later);
    const auto n_both = static_cast<size_t>(rows[k].end() - beyond);
    if (ends[k] > later &&
        !std::ranges::includes(rows[at(later)], std::ranges::subrange(beyond, rows[k].end()))) {
      throw std::invalid_argument(kLacksFill);
    }
    if (ends[k] == later || n_both == 0 || 2 * n_both < rows[at(later)].size()) {
      add_step(pattern, k, rows[k], false);
    } else {
      add_step(pattern, k, {rows[k].begin(), beyond}, false);
      add_step(pattern, ++k, rows[at(later)], true);
    }
  }
}

void SparseProgram::add_step(const PatternView& pattern, size_t k, std::span<const int32_t> rows,
                             bool second) {
  const std::span<const int32_t> upper = pattern.upper(k);
  const bool updates = !std::ranges::all_of(
      rows, [&](int32_t row) { return upper.size() == 1 && upper.front() == row; });
  for (const int32_t row : rows) {
    const int32_t entry = entry_of(pattern, row, k);
    if (second) {
      both.push_back({pattern.order[at(row)], entry_of(pattern, row, k - 1), entry});
    } else {
      alone.push_back({pattern.order[at(row)], entry});
    }
    if (updates) add_targets(pattern, row, upper);
  }
  for (const int32_t column : upper) upper_vertex.push_back(pattern.order[at(column)]);
  const auto n_upper = static_cast<int32_t>(upper.size());
  const auto n_rows = static_cast<int32_t>(rows.size());
  steps.push_back({pattern.order[k],
                   static_cast<int32_t>(pattern.upper_ptr[k] - pattern.row_ptr.front()), n_upper,
                   updates ? n_upper : 0, second ? n_rows : 0, second ? 0 : n_rows});
}

void SparseProgram::add_targets(const PatternView& pattern, int32_t row,
                                std::span<const int32_t> columns) {
  const int32_t* entry = pattern.col + pattern.row_ptr[at(row)];
  const int32_t* const end = pattern.col + pattern.row_ptr[at(row) + 1];
  for (const int32_t column : columns) {
    if (column == row) {
      target.push_back(n_entries + kUnread);
      continue;
    }
    while (entry != end && *entry < column) ++entry;
    if (entry == end || *entry != column) {
      throw std::invalid_argument(kLacksFill);
    }
    target.push_back(place_of(pattern, entry));
  }
}

PanelProgram::PanelProgram(const PatternView& pattern)
    : order(pattern.order.begin(), pattern.order.end()), edge_ptr(1, 0), upper_ptr(1, 0) {
  const size_t n = pattern.n();
  const int64_t base = pattern.row_ptr.front();
  const std::vector<int32_t> ends = supernode_ends(pattern);
  auto slot = pattern.edge_slot.begin();
  for (size_t row = 0; row < n; ++row) {
    for (; slot != pattern.edge_slot.end(); ++slot) {
      const int64_t entry = *slot - pattern.first_slot + base;
      if (entry >= pattern.row_ptr[row + 1]) break;
      edge_col.push_back(pattern.col[entry]);
    }
    edge_ptr.push_back(static_cast<int64_t>(edge_col.size()));
    const std::span<const int32_t> upper = pattern.upper(row);
    upper_col.insert(upper_col.end(), upper.begin(), upper.end());
    upper_ptr.push_back(static_cast<int64_t>(upper_col.size()));
    widens.push_back(row == 0 || ends[row - 1] == static_cast<int32_t>(row));
  }
  std::vector<int32_t> sources;
  for (size_t first = 0; first < n;) {
    const std::span<const int32_t> own = pattern.lower(first);
    sources.assign(own.begin(), own.end());
    size_t n_rows = kRows;
    if (!join_lower(pattern, first, sources)) {
      n_rows = 1;
      sources.assign(own.begin(), own.end());
    }
    const size_t n_before = groups.size();
    size_t n_sources = n_rows - 1;
    // A row that has met row k of a supernode has been filled in at all its later rows.
    for (size_t s = 0; s < sources.size();) {
      const int32_t k = sources[s];
      const int32_t together = std::min(ends[at(k)], static_cast<int32_t>(first)) - k;
      groups.push_back({k, together});
      s += at(together);
      n_sources += at(together);
    }
    panels.push_back({static_cast<int32_t>(first), static_cast<int32_t>(n_rows),
                      static_cast<int32_t>(groups.size() - n_before)});
    (n_rows == 1 ? n_lower : n_lower_rows) += static_cast<int64_t>(n_sources);
    first += n_rows;
  }
}

}  // namespace phasic_mpi
