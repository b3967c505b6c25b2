#include "dissection.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <utility>

#include "separator.hpp"

namespace phasic_mpi {
namespace {

constexpr int32_t kNone = PartTree::kNone;

size_t at(int32_t index) { return static_cast<size_t>(index); }

/// A list of vertices that threads cut into ranges and sort by side as they go.
class Dissection {
 public:
  Dissection(const SymmetricPattern& pattern, int32_t leaf_vertices,
             const std::atomic<bool>& cancel, TaskPool& pool)
      : pattern_(pattern),
        leaf_vertices_(leaf_vertices),
        cancel_(cancel),
        pool_(pool),
        search_(pool.n_threads()) {
    const int32_t n = pattern.n();
    place_.assign(at(n), kNone);
    const size_t limit = static_cast<size_t>(dense_limit(n));
    for (int32_t vertex = 0; vertex < n; ++vertex) {
      if (pattern.neighbours(vertex).size() > limit) continue;
      place_[at(vertex)] = static_cast<int32_t>(vertices_.size());
      vertices_.push_back(vertex);
    }
    sorted_.resize(vertices_.size());
  }

  Status run(PartTree& tree) {
    root_.range = {0, static_cast<int32_t>(vertices_.size())};
    add(root_);
    const Status status = pool_.run();
    if (status == Status::ok) number_parts(tree);
    return status;
  }

 private:
  struct Range {
    int32_t begin = 0;
    int32_t end = 0;
  };

  /// Vertices that are looked at together, and in the end those of one part.
  struct Node {
    Range range;
    std::array<std::unique_ptr<Node>, 2> sides;  // none of a leaf
  };

  /// What a thread needs to find separators.
  struct Search {
    Separator separator;
    std::vector<uint8_t> side;
  };

  void add(Node& node) {
    pool_.add([this, &node](size_t thread) { return cut(node, search_[thread]); });
  }

  Status cut(Node& node, Search& search) {
    const Range range = node.range;
    if (range.end - range.begin <= leaf_vertices_) return Status::ok;
    load(range, search.separator.graph());
    const Status status = search.separator.find(cancel_, search.side);
    if (status == Status::ok && split(node, search.side)) {
      for (const std::unique_ptr<Node>& side : node.sides) add(*side);
    }
    return status;
  }

  void load(const Range& range, WeightedGraph& graph) {
    graph.ptr.assign(1, 0);
    graph.neighbour.clear();
    const auto n_range = static_cast<uint32_t>(range.end - range.begin);
    for (int32_t place = range.begin; place < range.end; ++place) {
      for (const int32_t neighbour : pattern_.neighbours(vertices_[at(place)])) {
        // Places before the range wrap round, and are not below its size either.
        const auto local = static_cast<uint32_t>(place_of(neighbour) - range.begin);
        if (local < n_range) graph.neighbour.push_back(static_cast<int32_t>(local));
      }
      graph.ptr.push_back(static_cast<int64_t>(graph.neighbour.size()));
    }
    graph.weight.assign(n_range, 1);
    graph.edge_weight.assign(graph.neighbour.size(), 1);
  }

  /// Leaves the separator to a node, and both sides to nodes below it. False, and nothing done, if
  /// a side is small, or smaller than the separator.
  bool split(Node& node, const std::vector<uint8_t>& side) {
    const auto [begin, end] = node.range;
    std::array<int32_t, 4> start{};
    for (const uint8_t of_vertex : side) ++start[of_vertex + 1U];
    const int32_t smaller = std::min(start[1], start[2]);
    if (8 * int64_t{smaller} < std::ssize(side) || start[3] > smaller) return false;
    std::partial_sum(start.begin(), start.end(), start.begin());
    std::array<int32_t, 3> next{begin + start[0], begin + start[1], begin + start[2]};
    std::copy(vertices_.begin() + begin, vertices_.begin() + end, sorted_.begin() + begin);
    for (size_t local = 0; local < side.size(); ++local) {
      const int32_t vertex = sorted_[at(begin) + local];
      const int32_t place = next[side[local]]++;
      vertices_[at(place)] = vertex;
      std::atomic_ref(place_[at(vertex)]).store(place, std::memory_order_relaxed);
    }
    node.range = {begin + start[2], end};
    node.sides[0] = std::make_unique<Node>(Node{{begin, begin + start[1]}, {}});
    node.sides[1] = std::make_unique<Node>(Node{{begin + start[1], begin + start[2]}, {}});
    return true;
  }

  /// Place of a vertex in vertices_. Other threads move those out of a range within other ranges
  /// meanwhile: which of their places is read makes no difference.
  int32_t place_of(int32_t vertex) {
    return std::atomic_ref(place_[at(vertex)]).load(std::memory_order_relaxed);
  }

  /// Numbers parts by the tree alone, whoever came first.
  void number_parts(PartTree& tree) const {
    tree.parent.clear();
    tree.part_of.assign(place_.size(), kNone);
    std::vector<std::pair<const Node*, int32_t>> pending{{&root_, kNone}};
    while (!pending.empty()) {
      const auto [node, parent] = pending.back();
      pending.pop_back();
      const auto part = static_cast<int32_t>(tree.parent.size());
      tree.parent.push_back(parent);
      for (int32_t place = node->range.begin; place < node->range.end; ++place) {
        tree.part_of[at(vertices_[at(place)])] = part;
      }
      for (const std::unique_ptr<Node>& side : node->sides) {
        if (side) pending.emplace_back(side.get(), part);
      }
    }
  }

  const SymmetricPattern& pattern_;
  const int32_t leaf_vertices_;
  const std::atomic<bool>& cancel_;
  TaskPool& pool_;
  std::vector<Search> search_;  // of each thread
  std::vector<int32_t> vertices_;
  std::vector<int32_t> place_;  // of each vertex in vertices_
  std::vector<int32_t> sorted_;
  Node root_;
};

}  // namespace

Status dissect(const SymmetricPattern& pattern, int32_t leaf_vertices,
               const std::atomic<bool>& cancel, TaskPool& pool, PartTree& tree) {
  return Dissection(pattern, leaf_vertices, cancel, pool).run(tree);
}

}  // namespace phasic_mpi
