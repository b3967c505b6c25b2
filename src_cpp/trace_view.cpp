#include "trace_view.hpp"

#include <algorithm>

namespace phasic_mpi {
namespace {

size_t at(int64_t index) { return static_cast<size_t>(index); }

bool ascends(std::span<const int64_t> ptr, size_t n, int64_t end) {
  if (ptr.size() != n + 1 || ptr.front() != 0 || ptr.back() != end) return false;
  return std::is_sorted(ptr.begin(), ptr.end());
}

/// Ascending, all below `limit`, none equal to `row`; L below the row and U above it.
bool is_valid_row(std::span<const int32_t> lower, std::span<const int32_t> upper, int64_t row,
                  int64_t limit) {
  int64_t previous = -1;
  for (const int32_t column : lower) {
    if (column <= previous || column >= row) return false;
    previous = column;
  }
  previous = row;
  for (const int32_t column : upper) {
    if (column <= previous || column >= limit) return false;
    previous = column;
  }
  return true;
}

bool is_valid_pattern(const TraceView& trace, size_t pattern) {
  const int64_t first = trace.pattern_ptr[pattern];
  const int64_t n = trace.pattern_ptr[pattern + 1] - first;
  std::vector<char> seen(at(n), 0);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t begin = trace.row_ptr[at(first + i)];
    const int64_t middle = trace.upper_ptr[at(first + i)];
    const int64_t end = trace.row_ptr[at(first + i) + 1];
    if (middle < begin || middle > end) return false;
    if (!is_valid_row(trace.col.subspan(at(begin), at(middle - begin)),
                      trace.col.subspan(at(middle), at(end - middle)), i, n)) {
      return false;
    }
    const int32_t vertex = trace.order[at(first + i)];
    if (vertex < 0 || vertex >= n || seen[at(vertex)] != 0) return false;
    seen[at(vertex)] = 1;
  }
  return true;
}

bool is_valid_block(const TraceView& trace, size_t block) {
  const int64_t n = trace.block_ptr[block + 1] - trace.block_ptr[block];
  const int64_t n_values = trace.value_ptr[block + 1] - trace.value_ptr[block];
  const int32_t pattern = trace.block_pattern[block];
  if (pattern == -1) return n == 1 && n_values == 0;
  if (pattern < 0 || at(pattern) + 1 >= trace.pattern_ptr.size()) return false;
  const int64_t first = trace.pattern_ptr[at(pattern)];
  const int64_t last = trace.pattern_ptr[at(pattern) + 1];
  return n == last - first && n_values == trace.row_ptr[at(last)] - trace.row_ptr[at(first)];
}

/// Edges between blocks lead to later blocks.
bool are_valid_off_edges(const TraceView& trace, size_t block) {
  const int64_t last = trace.block_ptr[block + 1];
  const auto limit = static_cast<int64_t>(trace.n_transient());
  const int64_t begin = trace.off_ptr[at(trace.block_ptr[block])];
  return std::ranges::all_of(trace.off_col.subspan(at(begin), at(trace.off_ptr[at(last)] - begin)),
                             [&](int32_t target) { return target >= last && target < limit; });
}

}  // namespace

bool is_valid(const TraceView& trace) {
  if (trace.off_ptr.empty() || trace.pattern_ptr.empty()) return false;
  const size_t n_patterns = trace.pattern_ptr.size() - 1;
  const size_t n_rows = trace.order.size();
  const size_t n_blocks = trace.n_blocks();
  const auto n_entries = static_cast<int64_t>(trace.col.size());
  const auto n_off = static_cast<int64_t>(trace.off_col.size());
  if (!ascends(trace.pattern_ptr, n_patterns, static_cast<int64_t>(n_rows)) ||
      !ascends(trace.row_ptr, n_rows, n_entries) || trace.upper_ptr.size() != n_rows ||
      !ascends(trace.block_ptr, n_blocks, static_cast<int64_t>(trace.n_transient())) ||
      !ascends(trace.off_ptr, trace.n_transient(), n_off) ||
      trace.value_ptr.size() != n_blocks + 1 || trace.value_ptr.front() != 0) {
    return false;
  }
  for (size_t pattern = 0; pattern < n_patterns; ++pattern) {
    if (!is_valid_pattern(trace, pattern)) return false;
  }
  for (size_t block = 0; block < n_blocks; ++block) {
    if (!is_valid_block(trace, block) || !are_valid_off_edges(trace, block)) return false;
  }
  return true;
}

std::vector<int64_t> count_updates(const TraceView& trace) {
  std::vector<int64_t> updates;
  std::vector<int64_t> next(trace.upper_ptr.begin(), trace.upper_ptr.end());
  for (size_t pattern = 0; pattern + 1 < trace.pattern_ptr.size(); ++pattern) {
    const int64_t first = trace.pattern_ptr[pattern];
    const int64_t last = trace.pattern_ptr[pattern + 1];
    int64_t total = 0;
    for (int64_t row = first; row < last; ++row) {
      for (int64_t entry = trace.row_ptr[at(row)]; entry < trace.upper_ptr[at(row)]; ++entry) {
        const size_t k = at(first + trace.col[at(entry)]);
        const int64_t end = trace.row_ptr[k + 1];
        total += end - trace.upper_ptr[k];
        // Rows ascend, so one pointer per row of U finds all the diagonal updates left out.
        while (next[k] < end && trace.col[at(next[k])] < row - first) ++next[k];
        if (next[k] < end && trace.col[at(next[k])] == row - first) --total;
      }
    }
    updates.push_back(total);
  }
  return updates;
}

}  // namespace phasic_mpi
