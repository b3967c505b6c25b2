#include "supernodes.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "pivot_ranges.hpp"

namespace phasic_mpi {
namespace {

// Subtrees with less than this share of all work are left to one thread.
constexpr int64_t kShares = 64;

size_t at(int64_t index) { return static_cast<size_t>(index); }

}  // namespace

struct SupernodeProgram::Side {
  Half Panel::* half;
  Reach Update::* pivots;  // of an update, that the panel has in the other half,
  Reach Update::* own;     // and in this one
  bool is_upper;
  int32_t n_more;             // columns behind the vertices
  std::vector<int32_t> seen;  // the last panel that had each vertex
};

SupernodeProgram::SupernodeProgram(const PatternView& pattern)
    : order(pattern.order.begin(), pattern.order.end()), panel_of(pattern.n()) {
  const std::vector<PivotRange> ranges = find_pivot_ranges(pattern);
  std::vector<int32_t> parent;  // first pivots of parents
  for (const PivotRange& range : ranges) {
    const int64_t n_panels = (range.width() + kMostPivots - 1) / kMostPivots;
    for (int64_t part = 0; part < n_panels; ++part) {
      const auto first = range.first + static_cast<int32_t>(range.width() * part / n_panels);
      const auto end = range.first + static_cast<int32_t>(range.width() * (part + 1) / n_panels);
      std::fill(panel_of.begin() + first, panel_of.begin() + end,
                static_cast<int32_t>(panels.size()));
      panels.push_back({first, end - first, {}, {}, 0, 0, 0});
      parent.push_back(end < range.end ? end : range.parent);
    }
  }
  panels.push_back({static_cast<int32_t>(order.size()), 0, {}, {}, 0, 0, 0});
  for (int32_t& pivot : parent) pivot = pivot < 0 ? -1 : panel_of[at(pivot)];
  const Grouped<Ends> ends = ends_by_panel(pattern);
  add_units(parent, add_panels(ends));
  add_edges(ends);
}

Grouped<SupernodeProgram::Ends> SupernodeProgram::ends_by_panel(const PatternView& pattern) const {
  return {panels.size(), [&](const auto& put) {
            int32_t weight = 0;
            visit_edges(pattern, [&](int32_t row, int32_t column) {
              const Ends ends{weight++, row, column};
              put(at(panel_of[at(ends.pivot())]), ends);
            });
          }};
}

/// Later vertices and updates of all panels, by elimination panel by panel. Returns the products
/// that go to each.
std::vector<int64_t> SupernodeProgram::add_panels(const Grouped<Ends>& ends) {
  std::vector<int32_t> unseen(order.size(), -1);
  std::array<Side, 2> sides{
      Side{&Panel::upper, &Update::lower, &Update::upper, true, kCarried, unseen},
      Side{&Panel::lower, &Update::upper, &Update::lower, false, 0, unseen}};
  std::vector<std::vector<Update>> pending(panels.size());
  std::vector<int64_t> work;
  for (size_t p = 0; p + 1 < panels.size(); ++p) {
    Panel& panel = panels[p];
    panel.updates = std::ssize(updates);
    panel.values = n_values;
    const std::vector<Update> own = std::exchange(pending[p], {});
    updates.insert(updates.end(), own.begin(), own.end());
    for (Side& side : sides) add_half(p, side, ends[p], own);
    add_updates(p, pending);
    work.push_back(count_products(p, own));
    n_values += panel.n_values();
    n_products += work.back();
  }
  panels.back().updates = std::ssize(updates);
  return work;
}

void SupernodeProgram::add_half(size_t index, Side& side, std::span<const Ends> ends,
                                std::span<const Update> own) {
  const Panel& panel = panels[index];
  const int64_t begin = std::ssize(later);
  const auto meet = [&](int32_t vertex) {
    if (vertex < panel.end()) return;
    const auto mark = static_cast<int32_t>(index);
    if (std::exchange(side.seen[at(vertex)], mark) != mark) later.push_back(vertex);
  };
  for (const Ends& edge : ends) {
    if (edge.is_upper() == side.is_upper) meet(edge.vertex());
  }
  for (const Update& update : own) {
    if ((update.*side.pivots).begin == (update.*side.pivots).end) continue;
    const Half& from = panels[at(update.panel)].*side.half;
    for (int32_t i = (update.*side.own).end; i < from.n_later; ++i) meet(later[at(from.later + i)]);
  }
  std::sort(later.begin() + begin, later.end());
  const auto n_later = static_cast<int32_t>(std::ssize(later) - begin);
  // An odd number of lines: rows at distances of large powers of two share places in a cache.
  const int32_t n_lines = (panel.width + n_later + side.n_more + kLine - 1) / kLine | 1;
  panels[index].*side.half = {begin, n_later, n_lines * kLine};
}

/// Those of a panel, to the panels that have its later vertices as pivots.
void SupernodeProgram::add_updates(size_t index, std::vector<std::vector<Update>>& pending) const {
  const Panel& panel = panels[index];
  const auto vertices_of = [&](const Half& half) {
    return std::span(later).subspan(at(half.later), at(half.n_later));
  };
  const std::span<const int32_t> upper = vertices_of(panel.upper);
  const std::span<const int32_t> lower = vertices_of(panel.lower);
  const auto next_pivot = [&](std::span<const int32_t> vertices, const Reach& before) {
    return at(before.end) < vertices.size() ? vertices[at(before.end)] : panels.back().first;
  };
  Update update{static_cast<int32_t>(index), {0, 0}, {0, 0}};
  while (true) {
    const int32_t pivot =
        std::min(next_pivot(upper, update.upper), next_pivot(lower, update.lower));
    if (pivot == panels.back().first) return;
    const int32_t target = panel_of[at(pivot)];
    const auto reach = [&](std::span<const int32_t> vertices, const Reach& before) {
      const auto end =
          std::lower_bound(vertices.begin() + before.end, vertices.end(), panels[at(target)].end());
      return Reach{before.end, static_cast<int32_t>(end - vertices.begin())};
    };
    update.upper = reach(upper, update.upper);
    update.lower = reach(lower, update.lower);
    pending[at(target)].push_back(update);
  }
}

int64_t SupernodeProgram::count_products(size_t index, std::span<const Update> own) const {
  const Panel& panel = panels[index];
  const int64_t width = panel.width;
  int64_t total =
      width * width * (panel.upper.n_later + panel.lower.n_later) / 2 + width * width * width / 3;
  for (const Update& update : own) {
    const Panel& from = panels[at(update.panel)];
    const int64_t n_rows = update.lower.end - update.lower.begin;
    const int64_t n_columns = update.upper.end - update.upper.begin;
    total += from.width * (n_rows * (from.upper.n_later - update.upper.begin) +
                           n_columns * (from.lower.n_later - update.lower.begin));
  }
  return total;
}

void SupernodeProgram::add_units(std::span<const int32_t> parent, std::span<const int64_t> work) {
  const size_t n_panels = work.size();
  std::vector<int64_t> subtree(work.begin(), work.end());
  for (size_t p = 0; p < n_panels; ++p) {
    if (parent[p] >= 0) subtree[at(parent[p])] += subtree[p];
  }
  const int64_t most = n_products / kShares;
  // Units come by the roots of subtrees; behind all of them panels that are above.
  std::vector<size_t> unit(n_panels);
  for (size_t p = n_panels; p-- > 0;) {
    if (subtree[p] > most) {
      unit[p] = n_panels + p;
    } else {
      const bool is_root = parent[p] < 0 || subtree[at(parent[p])] > most;
      unit[p] = is_root ? p : unit[at(parent[p])];
    }
  }
  unit_panels.resize(n_panels);
  std::iota(unit_panels.begin(), unit_panels.end(), 0);
  std::ranges::stable_sort(unit_panels, {}, [&](int32_t p) { return unit[at(p)]; });
  for (size_t i = 0; i < n_panels; ++i) {
    if (i == 0 || unit[at(unit_panels[i])] != unit[at(unit_panels[i - 1])]) {
      unit_ptr.push_back(static_cast<int32_t>(i));
    }
  }
  unit_ptr.push_back(static_cast<int32_t>(n_panels));
}

void SupernodeProgram::add_edges(const Grouped<Ends>& ends) {
  std::vector<int32_t> in_upper(order.size());  // place of each later vertex of the panel
  std::vector<int32_t> in_lower(order.size());
  for (size_t p = 0; p < panels.size(); ++p) {
    Panel& panel = panels[p];
    panel.edges = std::ssize(edges);
    const auto list = [&](const Half& half, std::vector<int32_t>& place) {
      for (int32_t i = 0; i < half.n_later; ++i) {
        place[at(later[at(half.later + i)])] = panel.width + i;
      }
    };
    list(panel.upper, in_upper);
    list(panel.lower, in_lower);
    for (const Ends& edge : ends[p]) {
      const int32_t vertex = edge.vertex();
      const bool is_pivot = vertex < panel.end();
      const std::vector<int32_t>& listed = edge.is_upper() ? in_upper : in_lower;
      const int64_t column = is_pivot ? vertex - panel.first : listed[at(vertex)];
      const int64_t row = edge.pivot() - panel.first;
      const int64_t place = edge.is_upper() ? row * panel.upper.stride + column
                                            : panel.width * int64_t{panel.upper.stride} +
                                                  row * panel.lower.stride + column;
      edges.push_back({edge.weight, static_cast<int32_t>(place)});
    }
  }
}

// Fitted to blocks of tandem queues, epidemics and coalescents, within a quarter.
double SupernodeProgram::cost() const {
  return 0.05 * static_cast<double>(n_products) + 2.1 * static_cast<double>(n_values) +
         136.0 * static_cast<double>(panels.size() + updates.size());
}

}  // namespace phasic_mpi
