#include "pivot_ranges.hpp"

#include <utility>

#include "grouped.hpp"

namespace phasic_mpi {
namespace {

size_t at(int64_t index) { return static_cast<size_t>(index); }

/// A range, and the later vertices that its last pivot meets.
struct Range {
  int32_t first;
  int32_t end;
  int32_t next;     // the first of them, -1 if there are none
  int64_t n_later;  // and how many there are
  int64_t n_zeros;  // above the diagonal, that merging has brought in

  [[nodiscard]] int64_t width() const { return end - first; }
};

/// Edges by the earlier of their ends, without direction.
Grouped<int32_t> find_neighbours(const PatternView& pattern) {
  return {pattern.n(), [&](const auto& put) {
            visit_edges(pattern, [&](int32_t row, int32_t column) {
              put(at(std::min(row, column)), std::max(row, column));
            });
          }};
}

/// Whether the zeros, as a share of all entries, cost less than what wider panels save. Measured:
/// from CHOLMOD's limits (Chen et al. 2008), with fewer zeros in narrow panels.
bool may_have(double zeros, int64_t width) {
  return zeros <= 0.05 || (width <= 48 && zeros < 0.1) || (width <= 16 && zeros < 0.5);
}

/// Merges the last range with those before it while they are its children and that pays.
void merge_last(std::vector<Range>& ranges) {
  while (ranges.size() > 1) {
    const Range& parent = ranges.back();
    Range& child = ranges[ranges.size() - 2];
    if (child.next < 0 || child.next >= parent.end) return;
    const int64_t width = child.width() + parent.width();
    const int64_t n_zeros = child.n_zeros + parent.n_zeros +
                            child.width() * (parent.width() + parent.n_later - child.n_later);
    const int64_t n_entries = width * (width - 1) / 2 + width * parent.n_later;
    if (!may_have(static_cast<double>(n_zeros) / static_cast<double>(n_entries), width)) return;
    child = {child.first, parent.end, parent.next, parent.n_later, n_zeros};
    ranges.pop_back();
  }
}

/// What each pivot meets later: its own edges and what its children in the elimination tree met.
class Meetings {
 public:
  explicit Meetings(const PatternView& pattern)
      : neighbours_(find_neighbours(pattern)),
        met_(pattern.n()),
        seen_(pattern.n(), -1),
        last_child_(pattern.n(), -1),
        child_before_(pattern.n(), -1) {}

  /// Pivots come in ascending order.
  const std::vector<int32_t>& of(int32_t pivot) {
    std::vector<int32_t>& own = met_[at(pivot)];
    const auto meet = [&](int32_t vertex) {
      if (vertex != pivot && std::exchange(seen_[at(vertex)], pivot) != pivot)
        own.push_back(vertex);
    };
    for (int32_t child = last_child_[at(pivot)]; child >= 0; child = child_before_[at(child)]) {
      std::ranges::for_each(std::exchange(met_[at(child)], {}), meet);
    }
    std::ranges::for_each(neighbours_[at(pivot)], meet);
    if (!std::ranges::is_sorted(own)) std::ranges::sort(own);
    if (!own.empty()) {
      child_before_[at(pivot)] = std::exchange(last_child_[at(own.front())], pivot);
    }
    return own;
  }

 private:
  Grouped<int32_t> neighbours_;
  std::vector<std::vector<int32_t>> met_;  // by each pivot, until its parent has it
  std::vector<int32_t> seen_;              // the last pivot that met each vertex
  std::vector<int32_t> last_child_;
  std::vector<int32_t> child_before_;
};

}  // namespace

std::vector<PivotRange> find_pivot_ranges(const PatternView& pattern) {
  Meetings meetings(pattern);
  std::vector<Range> ranges;
  for (int32_t pivot = 0; at(pivot) < pattern.n(); ++pivot) {
    const std::vector<int32_t>& later = meetings.of(pivot);
    const int32_t next = later.empty() ? -1 : later.front();
    ranges.push_back({pivot, pivot + 1, next, std::ssize(later), 0});
    merge_last(ranges);
  }
  std::vector<PivotRange> out;
  for (const Range& range : ranges) {
    out.push_back({range.first, range.end, range.next});
  }
  return out;
}

}  // namespace phasic_mpi
