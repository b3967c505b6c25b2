#include "scc.hpp"

#include <algorithm>
#include <numeric>

#include "tarjan.hpp"

namespace phasic_mpi {
namespace {

constexpr int32_t kNone = -1;

size_t at(int32_t index) { return static_cast<size_t>(index); }

/// Groups `to` by `from`, keeping the order of the edges.
Csr group(int32_t n_vertices, std::span<const int32_t> from, std::span<const int32_t> to) {
  Csr csr{std::vector<int64_t>(at(n_vertices) + 1, 0), std::vector<int32_t>(to.size())};
  for (const int32_t vertex : from) ++csr.ptr[at(vertex) + 1];
  std::partial_sum(csr.ptr.begin(), csr.ptr.end(), csr.ptr.begin());
  std::vector<int64_t> next(csr.ptr.begin(), csr.ptr.end() - 1);
  for (size_t edge = 0; edge < from.size(); ++edge) {
    csr.col[static_cast<size_t>(next[at(from[edge])]++)] = to[edge];
  }
  return csr;
}

/// Numbers transient vertices block by block, sources first, ascending within a block.
void place_vertices(const StrongComponents& components, Components& out) {
  const auto n_blocks = at(components.count);
  const auto block_of = [&](int32_t component) { return n_blocks - 1 - at(component); };
  out.block_ptr.assign(n_blocks + 1, 0);
  for (const int32_t component : components.of) {
    if (component != kNone) ++out.block_ptr[block_of(component) + 1];
  }
  std::partial_sum(out.block_ptr.begin(), out.block_ptr.end(), out.block_ptr.begin());
  std::vector<int64_t> next(out.block_ptr.begin(), out.block_ptr.end() - 1);
  out.vertex.resize(static_cast<size_t>(out.block_ptr.back()));
  out.position.assign(components.of.size(), kNone);
  for (size_t vertex = 0; vertex < components.of.size(); ++vertex) {
    if (components.of[vertex] == kNone) continue;
    const int64_t position = next[block_of(components.of[vertex])]++;
    out.vertex[static_cast<size_t>(position)] = static_cast<int32_t>(vertex);
    out.position[vertex] = static_cast<int32_t>(position);
  }
}

/// Collects the distinct edges of each row: those inside its block first, then those leaving it.
class EdgeCutter {
 public:
  EdgeCutter(const Csr& graph, Components& out) : graph_(graph), out_(out) {}

  void run() {
    const size_t n_blocks = out_.block_ptr.size() - 1;
    out_.inner_ptr.assign(1, 0);
    out_.off_ptr.assign(1, 0);
    out_.internal_ptr.assign(1, 0);
    for (size_t block = 0; block < n_blocks; ++block) {
      const auto first = static_cast<int32_t>(out_.block_ptr[block]);
      const auto last = static_cast<int32_t>(out_.block_ptr[block + 1]);
      for (int32_t position = first; position < last; ++position) cut_row(position, first, last);
      out_.internal_ptr.push_back(static_cast<int64_t>(out_.inner_col.size()));
    }
  }

 private:
  void cut_row(int32_t position, int32_t first, int32_t last) {
    const size_t vertex = at(out_.vertex[at(position)]);
    targets_.clear();
    for (int64_t edge = graph_.ptr[vertex]; edge < graph_.ptr[vertex + 1]; ++edge) {
      const int32_t target = out_.position[at(graph_.col[static_cast<size_t>(edge)])];
      if (target != kNone) targets_.push_back(target);
    }
    std::sort(targets_.begin(), targets_.end());
    targets_.erase(std::unique(targets_.begin(), targets_.end()), targets_.end());
    for (const int32_t target : targets_) {
      if (target < last) {
        out_.inner_col.push_back(target - first);
      } else {
        out_.off_col.push_back(target);
      }
    }
    out_.inner_ptr.push_back(static_cast<int64_t>(out_.inner_col.size()));
    out_.off_ptr.push_back(static_cast<int64_t>(out_.off_col.size()));
  }

  const Csr& graph_;
  Components& out_;
  std::vector<int32_t> targets_;
};

int64_t find_in_row(const std::vector<int64_t>& ptr, const std::vector<int32_t>& col,
                    int32_t position, int32_t target) {
  const auto begin = col.begin() + ptr[at(position)];
  const auto end = col.begin() + ptr[at(position) + 1];
  return std::lower_bound(begin, end, target) - col.begin();
}

void place_edges(std::span<const int32_t> source, std::span<const int32_t> target,
                 std::span<const int32_t> component, Components& out) {
  const auto n_internal = static_cast<int64_t>(out.inner_col.size());
  const auto n_off = static_cast<int64_t>(out.off_col.size());
  const auto n_blocks = static_cast<int32_t>(out.block_ptr.size() - 1);
  out.edge_place.resize(source.size());
  for (size_t edge = 0; edge < source.size(); ++edge) {
    const int32_t from = out.position[at(source[edge])];
    const int32_t to = out.position[at(target[edge])];
    const int32_t own = component[at(source[edge])];
    if (to == kNone) {
      out.edge_place[edge] = n_internal + n_off + from;
    } else if (component[at(target[edge])] == own) {
      const auto first = static_cast<int32_t>(out.block_ptr[at(n_blocks - 1 - own)]);
      out.edge_place[edge] = find_in_row(out.inner_ptr, out.inner_col, from, to - first);
    } else {
      out.edge_place[edge] = n_internal + find_in_row(out.off_ptr, out.off_col, from, to);
    }
  }
}

}  // namespace

Components condense(int32_t n_vertices, std::span<const int32_t> source,
                    std::span<const int32_t> target) {
  const Csr graph = group(n_vertices, source, target);
  const StrongComponents components = strong_components(graph, Sinks::left_out);
  Components out;
  place_vertices(components, out);
  EdgeCutter(graph, out).run();
  place_edges(source, target, components.of, out);
  return out;
}

std::vector<int32_t> trapped_vertices(int32_t n_vertices, std::span<const int32_t> source,
                                      std::span<const int32_t> target) {
  const Csr backward = group(n_vertices, target, source);
  std::vector<char> leaves(at(n_vertices), 0);
  for (const int32_t vertex : source) leaves[at(vertex)] = 1;
  std::vector<char> reaches(at(n_vertices), 0);
  std::vector<int32_t> stack;
  for (int32_t vertex = 0; vertex < n_vertices; ++vertex) {
    if (leaves[at(vertex)] != 0) continue;
    reaches[at(vertex)] = 1;
    stack.push_back(vertex);
  }
  while (!stack.empty()) {
    const size_t vertex = at(stack.back());
    stack.pop_back();
    for (int64_t edge = backward.ptr[vertex]; edge < backward.ptr[vertex + 1]; ++edge) {
      const int32_t before = backward.col[static_cast<size_t>(edge)];
      if (reaches[at(before)] != 0) continue;
      reaches[at(before)] = 1;
      stack.push_back(before);
    }
  }
  std::vector<int32_t> trapped;
  for (int32_t vertex = 0; vertex < n_vertices; ++vertex) {
    if (reaches[at(vertex)] == 0) trapped.push_back(vertex);
  }
  return trapped;
}

}  // namespace phasic_mpi
