#include "order.hpp"

#include <algorithm>
#include <utility>

#include "dissection.hpp"
#include "markowitz.hpp"
#include "prediction.hpp"
#include "quotient_graph.hpp"
#include "symmetric_pattern.hpp"

namespace phasic_mpi {
namespace {

constexpr int32_t kNone = AssemblyTree::kNone;

// Nested dissection is tried from so many vertices on, and so many multiplications per edge.
constexpr int32_t kDissectedVertices = 1200;
constexpr int64_t kDissectedProducts = 1000;
constexpr int32_t kLeafVertices = 400;
constexpr int32_t kLowSeparators = 5;  // levels of separators above the leaves

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

/// When a vertex may be eliminated: vertices of leaves, of low separators, of higher ones level by
/// level.
std::vector<int32_t> stages(const PartTree& tree) {
  const std::vector<int32_t> height = tree.heights();
  std::vector<int32_t> stage(tree.part_of.size(), 0);
  for (size_t vertex = 0; vertex < stage.size(); ++vertex) {
    if (tree.part_of[vertex] == PartTree::kNone) continue;
    const int32_t own = height[tree.part_of[vertex]];
    stage[vertex] = std::max(std::min(own, 1), own - kLowSeparators + 1);
  }
  return stage;
}

Status order_in_stages(const BlockView& block, SymmetricPattern pattern, std::vector<int32_t> stage,
                       const std::atomic<bool>& cancel, std::vector<int32_t>& order) {
  QuotientGraph graph(std::move(pattern), std::move(stage));
  const Status status = graph.eliminate_all(cancel);
  if (status == Status::ok) order = postorder(std::move(graph).assembly_tree(), block);
  return status;
}

Status dissect_and_order(const BlockView& block, SymmetricPattern pattern,
                         const std::atomic<bool>& cancel, std::vector<int32_t>& order) {
  PartTree tree;
  const Status status = dissect(pattern, kLeafVertices, cancel, tree);
  if (status != Status::ok) return status;
  return order_in_stages(block, std::move(pattern), stages(tree), cancel, order);
}

}  // namespace

Status minimum_degree_order(const BlockView& block, const std::atomic<bool>& cancel,
                            std::vector<int32_t>& order) {
  return order_in_stages(block, symmetric_pattern(block), {}, cancel, order);
}

Status dissection_order(const BlockView& block, const std::atomic<bool>& cancel,
                        std::vector<int32_t>& order) {
  return dissect_and_order(block, symmetric_pattern(block), cancel, order);
}

Status elimination_order(const BlockView& block, const std::atomic<bool>& cancel,
                         std::vector<int32_t>& order) {
  if (block.n() <= kMarkowitzVertices) {
    order = markowitz_order(block);
    return Status::ok;
  }
  if (block.n() < kDissectedVertices) return minimum_degree_order(block, cancel, order);
  SymmetricPattern pattern = symmetric_pattern(block);
  Status status = order_in_stages(block, pattern.clone(), {}, cancel, order);
  if (status != Status::ok) return status;
  const int64_t n_products = predict_cost(pattern, order).n_products;
  if (n_products < kDissectedProducts * pattern.ptr.back()) return Status::ok;
  std::vector<int32_t> dissected;
  status = dissect_and_order(block, pattern.clone(), cancel, dissected);
  if (status != Status::ok) return status;
  if (predict_cost(pattern, dissected).n_products < n_products) order = std::move(dissected);
  return Status::ok;
}

}  // namespace phasic_mpi
