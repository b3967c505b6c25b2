#include "markowitz.hpp"

#include <array>
#include <bit>

namespace phasic_mpi {
namespace {

using Set = uint64_t;

Set only(int32_t vertex) { return Set{1} << vertex; }

template <typename Visit>
void for_each(Set vertices, Visit visit) {
  for (; vertices != 0; vertices &= vertices - 1) visit(std::countr_zero(vertices));
}

}  // namespace

std::vector<int32_t> markowitz_order(const BlockView& block) {
  const int32_t n = block.n();
  std::array<Set, kMarkowitzVertices> targets{};
  std::array<Set, kMarkowitzVertices> sources{};
  std::array<int32_t, kMarkowitzVertices> cost{};
  Set left = 0;
  for (int32_t vertex = 0; vertex < n; ++vertex) {
    const auto row = static_cast<size_t>(vertex);
    left |= only(vertex);
    for (int64_t edge = block.row_ptr[row]; edge < block.row_ptr[row + 1]; ++edge) {
      const int32_t target = block.col[static_cast<size_t>(edge)];
      targets[row] |= only(target);
      sources[static_cast<size_t>(target)] |= only(vertex);
    }
  }
  const auto update = [&](int32_t vertex) {
    const auto v = static_cast<size_t>(vertex);
    cost[v] = std::popcount(sources[v]) * std::popcount(targets[v]);
  };
  for_each(left, update);
  std::vector<int32_t> order;
  order.reserve(static_cast<size_t>(n));
  while (left != 0) {
    int32_t best = std::countr_zero(left);
    for_each(left, [&](int32_t vertex) {
      if (cost[static_cast<size_t>(vertex)] < cost[static_cast<size_t>(best)]) best = vertex;
    });
    const Set from = sources[static_cast<size_t>(best)];
    const Set to = targets[static_cast<size_t>(best)];
    for_each(from, [&](int32_t vertex) {
      Set& row = targets[static_cast<size_t>(vertex)];
      row = (row | to) & ~(only(best) | only(vertex));
    });
    for_each(to, [&](int32_t vertex) {
      Set& column = sources[static_cast<size_t>(vertex)];
      column = (column | from) & ~(only(best) | only(vertex));
    });
    for_each(from | to, update);
    left &= ~only(best);
    order.push_back(best);
  }
  return order;
}

}  // namespace phasic_mpi
