#include "order.hpp"

#include <algorithm>
#include <utility>

#include "markowitz.hpp"
#include "quotient_graph.hpp"

namespace phasic_mpi {
namespace {

constexpr int32_t kNone = AssemblyTree::kNone;

/// First place of each element in a postorder; dense vertices come after all elements.
std::vector<int32_t> first_places(const AssemblyTree& tree) {
  const auto n = tree.parent.size();
  std::vector<int32_t> own(n, 0);
  for (const int32_t element : tree.element_of) {
    if (element != kNone) ++own[element];
  }
  // Children come before parents: sizes of subtrees add up in this order, and in reverse each
  // parent hands out places from its end, for itself and then to one subtree after the other.
  std::vector<int32_t> subtree = own;
  int32_t roots_end = 0;
  for (const int32_t element : tree.elements) {
    const int32_t parent = tree.parent[element];
    (parent == kNone ? roots_end : subtree[parent]) += subtree[element];
  }
  std::vector<int32_t> place(n);
  std::vector<int32_t> free_end(n);
  for (auto element = tree.elements.rbegin(); element != tree.elements.rend(); ++element) {
    const int32_t parent = tree.parent[*element];
    int32_t& end = parent == kNone ? roots_end : free_end[parent];
    place[*element] = free_end[*element] = end - own[*element];
    end -= subtree[*element];
  }
  return place;
}

/// In-degree times out-degree of each vertex in B.
std::vector<int64_t> markowitz_costs(const BlockView& block) {
  std::vector<int64_t> cost(block.row_ptr.size() - 1, 0);
  for (const int32_t target : block.col) ++cost[target];
  for (int32_t row = 0; row < block.n(); ++row) {
    cost[row] *= block.row_ptr[row + 1] - block.row_ptr[row];
  }
  return cost;
}

std::vector<int32_t> postorder(const AssemblyTree& tree, const BlockView& block) {
  std::vector<int32_t> place = first_places(tree);
  std::vector<int32_t> order(place.size());
  int32_t dense_place = block.n();
  for (int32_t vertex = block.n() - 1; vertex >= 0; --vertex) {
    const int32_t element = tree.element_of[vertex];
    order[element == kNone ? --dense_place : place[element]++] = vertex;
  }
  // Within an element every order is as good for B + B^T, but not for B, which has fewer edges.
  const std::vector<int64_t> cost = markowitz_costs(block);
  const auto element_ends = [&](int32_t vertex, int32_t next) {
    return tree.element_of[vertex] != tree.element_of[next];
  };
  for (auto begin = order.begin(); begin != order.end();) {
    const auto last = std::adjacent_find(begin, order.end(), element_ends);
    const auto end = last == order.end() ? last : last + 1;
    std::sort(begin, end,
              [&](int32_t a, int32_t b) { return cost[a] != cost[b] ? cost[a] < cost[b] : a < b; });
    begin = end;
  }
  return order;
}

Status eliminate(const BlockView& block, QuotientGraph graph, const std::atomic<bool>& cancel,
                 std::vector<int32_t>& order) {
  const Status status = graph.eliminate_all(cancel);
  if (status == Status::ok) order = postorder(std::move(graph).assembly_tree(), block);
  return status;
}

}  // namespace

Status minimum_degree_order(const BlockView& block, SymmetricPattern pattern,
                            const std::atomic<bool>& cancel, std::vector<int32_t>& order) {
  return eliminate(block, QuotientGraph(std::move(pattern)), cancel, order);
}

Status whole_order(const BlockView& block, const std::atomic<bool>& cancel,
                   std::vector<int32_t>& order) {
  if (block.n() > kMarkowitzVertices) {
    return minimum_degree_order(block, symmetric_pattern(block), cancel, order);
  }
  order = markowitz_order(block);
  return Status::ok;
}

Status part_order(const BlockView& part, const std::atomic<bool>& cancel,
                  std::vector<int32_t>& order) {
  const int32_t own_end = part.n() - part.n_boundary;
  std::vector<QuotientGraph::Role> role(static_cast<size_t>(part.n()), QuotientGraph::Role::plain);
  std::fill_n(role.begin(), part.n_below, QuotientGraph::Role::first);
  std::fill(role.begin() + own_end, role.end(), QuotientGraph::Role::kept);
  const Status status =
      eliminate(part, QuotientGraph(symmetric_pattern(part), std::move(role)), cancel, order);
  if (status != Status::ok) return status;
  std::erase_if(order, [&](int32_t vertex) { return vertex < part.n_below || vertex >= own_end; });
  for (int32_t& vertex : order) vertex -= part.n_below;
  for (int32_t vertex = own_end; vertex < part.n(); ++vertex)
    order.push_back(vertex - part.n_below);
  return Status::ok;
}

}  // namespace phasic_mpi
