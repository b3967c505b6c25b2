#include "order.hpp"

#include <algorithm>
#include <memory>
#include <numeric>

#include "markowitz.hpp"
#include "quotient_graph.hpp"

namespace phasic_mpi {
namespace {

constexpr int32_t kNone = AssemblyTree::kNone;

/// B^T as CSR, columns ascending.
struct Transpose {
  std::vector<int64_t> ptr;
  std::vector<int32_t> col;

  explicit Transpose(const BlockView& block)
      : ptr(block.row_ptr.size() + 1), col(block.col.size()) {
    // Counted two places up, so that filling in moves each pointer to where its row starts.
    for (const int32_t target : block.col) ++ptr[target + 2];
    std::partial_sum(ptr.begin(), ptr.end(), ptr.begin());
    for (int32_t row = 0; row < block.n(); ++row) {
      for (int64_t at = block.row_ptr[row]; at < block.row_ptr[row + 1]; ++at) {
        col[ptr[block.col[at] + 1]++] = row;
      }
    }
  }
};

/// The pattern of B + B^T.
SymmetricPattern symmetric_pattern(const BlockView& block) {
  const Transpose transpose(block);
  const int64_t n_edges = std::ssize(block.col);
  SymmetricPattern out{std::vector<int64_t>(block.row_ptr.size()), nullptr, 0};
  // Room for all cases; pages that are never written to cost nothing.
  out.col = std::make_unique_for_overwrite<int32_t[]>(2 * n_edges + 2 * n_edges / 5 + block.n());
  int32_t* end = out.col.get();
  for (int32_t row = 0; row < block.n(); ++row) {
    const auto edges = block.col.begin();
    const auto reversed = transpose.col.begin();
    end = std::set_union(edges + block.row_ptr[row], edges + block.row_ptr[row + 1],
                         reversed + transpose.ptr[row], reversed + transpose.ptr[row + 1], end);
    out.ptr[row + 1] = end - out.col.get();
  }
  // A new element needs room for n entries; a fifth more keeps compaction rare.
  out.capacity = out.ptr.back() + out.ptr.back() / 5 + block.n();
  return out;
}

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

}  // namespace

Status elimination_order(const BlockView& block, const std::atomic<bool>& cancel,
                         std::vector<int32_t>& order) {
  if (block.n() <= kMarkowitzVertices) {
    order = markowitz_order(block);
    return Status::ok;
  }
  QuotientGraph graph(symmetric_pattern(block));
  const Status status = graph.eliminate_all(cancel);
  if (status == Status::ok) order = postorder(std::move(graph).assembly_tree(), block);
  return status;
}

}  // namespace phasic_mpi
