#include "replay.hpp"

#include <algorithm>
#include <cmath>

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

/// One diagonal block. Its pointers count entries from the start of all patterns, so the values of
/// the block lie `shift` beside them.
struct Factor::Block {
  [[nodiscard]] double& value(int64_t entry) const { return values[at(entry + shift)]; }

  int64_t first;  // position of its first vertex
  int64_t n;
  std::span<const int32_t> order;
  std::span<const int64_t> row_ptr;
  std::span<const int64_t> upper_ptr;
  std::span<const int32_t> col;
  std::span<double> values;
  int64_t shift;
};

Factor::Factor(const TraceView& trace, std::span<double> values)
    : trace_(trace),
      values_(values),
      off_(values.subspan(at(trace.value_ptr.back()), trace.off_col.size())),
      exit_(values.last(trace.n_transient())),
      pivot_(trace.n_transient()) {
  int64_t largest = 1;
  for (size_t b = 0; b < trace.n_blocks(); ++b) {
    largest = std::max(largest, trace.block_ptr[b + 1] - trace.block_ptr[b]);
  }
  work_.assign(at(largest), 0.0);
  escape_.assign(at(largest), 0.0);
  rhs_.assign(at(largest), 0.0);
}

Factor::Block Factor::block(size_t index) const {
  // A block of one vertex has no entries; these make it look like a pattern of one empty row.
  static constexpr int32_t kOrder[1] = {0};
  static constexpr int64_t kRowPtr[2] = {0, 0};
  const int64_t first = trace_.block_ptr[index];
  const int32_t pattern = trace_.block_pattern[index];
  if (pattern < 0) return {first, 1, kOrder, kRowPtr, std::span(kRowPtr, 1), {}, {}, 0};
  const size_t row = at(trace_.pattern_ptr[at(pattern)]);
  const size_t n = at(trace_.pattern_ptr[at(pattern) + 1]) - row;
  return {first,
          static_cast<int64_t>(n),
          trace_.order.subspan(row, n),
          trace_.row_ptr.subspan(row, n + 1),
          trace_.upper_ptr.subspan(row, n),
          trace_.col,
          values_,
          trace_.value_ptr[index] - trace_.row_ptr[row]};
}

void Factor::leaving_rates(const Block& block, std::span<double> leaving) const {
  for (int64_t i = 0; i < block.n; ++i) {
    const size_t position = at(block.first + block.order[at(i)]);
    double rate = exit_[position];
    for (int64_t e = trace_.off_ptr[position]; e < trace_.off_ptr[position + 1]; ++e) {
      rate += off_[at(e)];
    }
    leaving[at(i)] = rate;
  }
}

int64_t Factor::factor() {
  std::vector<double> leaving(work_.size());
  for (size_t b = 0; b < trace_.n_blocks(); ++b) {
    const Block current = block(b);
    leaving_rates(current, leaving);
    const int64_t failed = factor_block(current, leaving);
    if (failed != kDone) return current.first + current.order[at(failed)];
  }
  return kDone;
}

int64_t Factor::factor_block(const Block& block, std::span<const double> leaving) {
  for (int64_t i = 0; i < block.n; ++i) {
    const int64_t begin = block.row_ptr[at(i)];
    const int64_t middle = block.upper_ptr[at(i)];
    const int64_t end = block.row_ptr[at(i) + 1];
    for (int64_t e = begin; e < end; ++e) work_[at(block.col[at(e)])] = block.value(e);
    double escape = leaving[at(i)];
    for (int64_t e = begin; e < middle; ++e) {
      const size_t k = at(block.col[at(e)]);
      const double multiplier = work_[k] / pivot_[at(block.first) + k];
      work_[k] = 0.0;
      block.value(e) = multiplier;
      escape += multiplier * escape_[k];
      // Entry i of row k is a jump back to i: GTH leaves it out, work_[i] is never read.
      for (int64_t u = block.upper_ptr[k]; u < block.row_ptr[k + 1]; ++u) {
        work_[at(block.col[at(u)])] += multiplier * block.value(u);
      }
    }
    work_[at(i)] = 0.0;
    double pivot = escape;
    for (int64_t e = middle; e < end; ++e) {
      double& rate = work_[at(block.col[at(e)])];
      block.value(e) = rate;
      pivot += rate;
      rate = 0.0;
    }
    if (!(pivot > 0.0) || !std::isfinite(pivot)) return i;
    escape_[at(i)] = escape;
    pivot_[at(block.first + i)] = pivot;
  }
  return kDone;
}

void Factor::solve(std::span<double> x) const {
  for (size_t b = trace_.n_blocks(); b-- > 0;) {
    const Block current = block(b);
    for (int64_t i = 0; i < current.n; ++i) {
      const size_t position = at(current.first + current.order[at(i)]);
      double sum = x[position];
      for (int64_t e = trace_.off_ptr[position]; e < trace_.off_ptr[position + 1]; ++e) {
        sum += off_[at(e)] * x[at(trace_.off_col[at(e)])];
      }
      for (int64_t e = current.row_ptr[at(i)]; e < current.upper_ptr[at(i)]; ++e) {
        sum += current.value(e) * rhs_[at(current.col[at(e)])];
      }
      rhs_[at(i)] = sum;
    }
    for (int64_t i = current.n; i-- > 0;) {
      double sum = rhs_[at(i)];
      for (int64_t e = current.upper_ptr[at(i)]; e < current.row_ptr[at(i) + 1]; ++e) {
        sum += current.value(e) * rhs_[at(current.col[at(e)])];
      }
      rhs_[at(i)] = sum / pivot_[at(current.first + i)];
      x[at(current.first + current.order[at(i)])] = rhs_[at(i)];
    }
  }
}

void Factor::solve_transposed(std::span<double> x) const {
  for (size_t b = 0; b < trace_.n_blocks(); ++b) {
    const Block current = block(b);
    for (int64_t i = 0; i < current.n; ++i) {
      rhs_[at(i)] = x[at(current.first + current.order[at(i)])];
    }
    for (int64_t i = 0; i < current.n; ++i) {
      rhs_[at(i)] /= pivot_[at(current.first + i)];
      for (int64_t e = current.upper_ptr[at(i)]; e < current.row_ptr[at(i) + 1]; ++e) {
        rhs_[at(current.col[at(e)])] += current.value(e) * rhs_[at(i)];
      }
    }
    for (int64_t i = current.n; i-- > 0;) {
      for (int64_t e = current.row_ptr[at(i)]; e < current.upper_ptr[at(i)]; ++e) {
        rhs_[at(current.col[at(e)])] += current.value(e) * rhs_[at(i)];
      }
      const size_t position = at(current.first + current.order[at(i)]);
      x[position] = rhs_[at(i)];
      for (int64_t e = trace_.off_ptr[position]; e < trace_.off_ptr[position + 1]; ++e) {
        x[at(trace_.off_col[at(e)])] += off_[at(e)] * x[position];
      }
    }
  }
}

}  // namespace phasic_mpi
