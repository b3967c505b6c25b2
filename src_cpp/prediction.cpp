#include "prediction.hpp"

#include <utility>
#include <vector>

namespace phasic_mpi {
namespace {

constexpr int32_t kNone = -1;

size_t at(int32_t index) { return static_cast<size_t>(index); }

/// A pattern with its vertices named by their positions in an order.
class OrderedPattern {
 public:
  OrderedPattern(const SymmetricPattern& pattern, std::span<const int32_t> order)
      : pattern_(pattern), order_(order), position_(order.size()) {
    for (size_t place = 0; place < order.size(); ++place) {
      position_[at(order[place])] = static_cast<int32_t>(place);
    }
  }

  [[nodiscard]] int32_t n() const { return static_cast<int32_t>(order_.size()); }

  template <class Visit>
  void for_each_neighbour(int32_t position, Visit visit) const {
    for (const int32_t neighbour : pattern_.neighbours(order_[at(position)])) {
      visit(position_[at(neighbour)]);
    }
  }

 private:
  const SymmetricPattern& pattern_;
  std::span<const int32_t> order_;
  std::vector<int32_t> position_;
};

/// Parents in the elimination tree: the first later neighbour once earlier ones are eliminated.
std::vector<int32_t> elimination_tree(const OrderedPattern& pattern) {
  std::vector<int32_t> parent(at(pattern.n()), kNone);
  std::vector<int32_t> ancestor(at(pattern.n()), kNone);  // shortcuts upwards
  for (int32_t row = 0; row < pattern.n(); ++row) {
    pattern.for_each_neighbour(row, [&](int32_t node) {
      while (node != kNone && node < row) {
        const int32_t next = std::exchange(ancestor[at(node)], row);
        if (next == kNone) parent[at(node)] = row;
        node = next;
      }
    });
  }
  return parent;
}

/// Place of each node in a postorder, in which descendants of a node stand right before it.
std::vector<int32_t> postorder_places(const std::vector<int32_t>& parent) {
  const auto n = static_cast<int32_t>(parent.size());
  std::vector<int32_t> size(parent.size(), 1);
  for (int32_t node = 0; node < n; ++node) {
    if (parent[at(node)] != kNone) size[at(parent[at(node)])] += size[at(node)];
  }
  // From the roots down, each node hands places from its end to its children.
  std::vector<int32_t> place(parent.size());
  std::vector<int32_t> free_end(parent.size());
  int32_t roots_end = n;
  for (int32_t node = n - 1; node >= 0; --node) {
    int32_t& end = parent[at(node)] == kNone ? roots_end : free_end[at(parent[at(node)])];
    place[at(node)] = free_end[at(node)] = end - 1;
    end -= size[at(node)];
  }
  return place;
}

/// Column counts: each entry of a row of the factor is a node of a subtree of the elimination tree,
/// whose leaves are found in postorder. Leaves add one, their least common ancestors subtract one.
class ColumnCounts {
 public:
  ColumnCounts(const OrderedPattern& pattern, const std::vector<int32_t>& parent)
      : pattern_(pattern),
        parent_(parent),
        count_(parent.size(), 0),
        first_(parent.size(), kNone),
        latest_first_(parent.size(), kNone),
        latest_leaf_(parent.size(), kNone),
        ancestor_(parent.size()) {
    const std::vector<int32_t> place = postorder_places(parent);
    node_at_.resize(parent.size());
    for (int32_t node = 0; node < pattern.n(); ++node) {
      node_at_[at(place[at(node)])] = node;
      ancestor_[at(node)] = node;
    }
  }

  /// Entries of each column below the diagonal.
  std::vector<int32_t> run() && {
    for (size_t place = 0; place < node_at_.size(); ++place) {
      const int32_t leaf = node_at_[place];
      if (first_[at(leaf)] == kNone) count_[at(leaf)] = 1;
      for (int32_t node = leaf; node != kNone && first_[at(node)] == kNone;
           node = parent_[at(node)]) {
        first_[at(node)] = static_cast<int32_t>(place);
      }
    }
    for (const int32_t node : node_at_) visit(node);
    for (const int32_t node : node_at_) {
      const int32_t above = parent_[at(node)];
      if (above != kNone) count_[at(above)] += count_[at(node)];
    }
    for (int32_t& count : count_) --count;
    return std::move(count_);
  }

 private:
  void visit(int32_t node) {
    const int32_t above = parent_[at(node)];
    if (above != kNone) --count_[at(above)];
    pattern_.for_each_neighbour(node, [&](int32_t row) {
      if (row > node && first_[at(node)] > latest_first_[at(row)]) add_leaf(node, row);
    });
    if (above != kNone) ancestor_[at(node)] = above;
  }

  void add_leaf(int32_t node, int32_t row) {
    latest_first_[at(row)] = first_[at(node)];
    ++count_[at(node)];
    const int32_t before = std::exchange(latest_leaf_[at(row)], node);
    if (before != kNone) --count_[at(common_ancestor(before))];
  }

  /// Of a leaf and the node being visited; shortens the way for the next search.
  int32_t common_ancestor(int32_t leaf) {
    int32_t top = leaf;
    while (top != ancestor_[at(top)]) top = ancestor_[at(top)];
    while (leaf != top) leaf = std::exchange(ancestor_[at(leaf)], top);
    return top;
  }

  const OrderedPattern& pattern_;
  const std::vector<int32_t>& parent_;
  std::vector<int32_t> count_;
  std::vector<int32_t> first_;         // of each node: place of its first descendant
  std::vector<int32_t> latest_first_;  // of each row: that of its latest leaf
  std::vector<int32_t> latest_leaf_;   // of each row
  std::vector<int32_t> ancestor_;
  std::vector<int32_t> node_at_;  // nodes in postorder
};

}  // namespace

OrderCost predict_cost(const SymmetricPattern& pattern, std::span<const int32_t> order) {
  const OrderedPattern ordered(pattern, order);
  const std::vector<int32_t> parent = elimination_tree(ordered);
  OrderCost cost;
  for (const int64_t below : ColumnCounts(ordered, parent).run()) {
    cost.n_entries += 2 * below;
    cost.n_products += below * below;
  }
  return cost;
}

}  // namespace phasic_mpi
