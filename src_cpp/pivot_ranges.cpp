#include "pivot_ranges.hpp"

#include <utility>

namespace phasic_mpi {
namespace {

size_t at(int64_t index) { return static_cast<size_t>(index); }

/// A range with the later vertices that it meets, ascending.
struct Range {
  int32_t first;
  int32_t end;
  std::vector<int32_t> later;
  int64_t n_zeros;  // above the diagonal, that merging has brought in

  [[nodiscard]] int64_t width() const { return end - first; }
};

/// Edges by the earlier of their ends, without direction: CSR.
struct Neighbours {
  std::vector<int64_t> ptr;
  std::vector<int32_t> later;

  explicit Neighbours(const PatternView& pattern)
      : ptr(pattern.n() + 2), later(pattern.edge_slot.size()) {
    // Counted two places up, so that filling in moves each pointer to where its row starts.
    visit_edges(pattern,
                [&](int32_t row, int32_t column) { ++ptr[at(std::min(row, column)) + 2]; });
    for (size_t v = 2; v < ptr.size(); ++v) ptr[v] += ptr[v - 1];
    visit_edges(pattern, [&](int32_t row, int32_t column) {
      later[at(ptr[at(std::min(row, column)) + 1]++)] = std::max(row, column);
    });
  }
};

/// Whether the zeros, as a share of all entries, cost less than what wider panels save. Measured:
/// from CHOLMOD's limits (Chen et al. 2008), with fewer zeros in narrow panels.
bool may_have(double zeros, int64_t width) {
  return zeros <= 0.05 || (width <= 48 && zeros < 0.1) || (width <= 16 && zeros < 0.5);
}

/// Merges the last range with those before it while they are its children and that pays.
void merge_last(std::vector<Range>& ranges) {
  while (ranges.size() > 1) {
    Range& parent = ranges.back();
    Range& child = ranges[ranges.size() - 2];
    if (child.later.empty() || child.later.front() >= parent.end) return;
    const int64_t width = child.width() + parent.width();
    const int64_t n_later = std::ssize(parent.later);
    const int64_t n_zeros = child.n_zeros + parent.n_zeros +
                            child.width() * (parent.width() + n_later - std::ssize(child.later));
    const int64_t n_entries = width * (width - 1) / 2 + width * n_later;
    if (!may_have(static_cast<double>(n_zeros) / static_cast<double>(n_entries), width)) return;
    child.end = parent.end;
    child.later = std::move(parent.later);
    child.n_zeros = n_zeros;
    ranges.pop_back();
  }
}

/// What each pivot meets later: its own edges and what its children in the elimination tree met.
class Meetings {
 public:
  explicit Meetings(const PatternView& pattern)
      : neighbours_(pattern),
        met_(pattern.n()),
        seen_(pattern.n(), -1),
        last_child_(pattern.n(), -1),
        child_before_(pattern.n(), -1) {}

  /// Pivots come in ascending order.
  std::vector<int32_t> of(int32_t pivot) {
    std::vector<int32_t> own;
    const auto meet = [&](int32_t vertex) {
      if (vertex != pivot && std::exchange(seen_[at(vertex)], pivot) != pivot)
        own.push_back(vertex);
    };
    for (int32_t child = last_child_[at(pivot)]; child >= 0; child = child_before_[at(child)]) {
      std::ranges::for_each(std::exchange(met_[at(child)], {}), meet);
    }
    const auto edges = neighbours_.later.begin();
    std::for_each(edges + neighbours_.ptr[at(pivot)], edges + neighbours_.ptr[at(pivot) + 1], meet);
    if (!std::ranges::is_sorted(own)) std::ranges::sort(own);
    if (!own.empty()) {
      child_before_[at(pivot)] = std::exchange(last_child_[at(own.front())], pivot);
    }
    met_[at(pivot)] = own;
    return own;
  }

 private:
  Neighbours neighbours_;
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
    ranges.push_back({pivot, pivot + 1, meetings.of(pivot), 0});
    merge_last(ranges);
  }
  std::vector<PivotRange> out;
  for (const Range& range : ranges) {
    out.push_back({range.first, range.end, range.later.empty() ? -1 : range.later.front()});
  }
  return out;
}

}  // namespace phasic_mpi
