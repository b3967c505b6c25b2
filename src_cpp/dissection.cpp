#include "dissection.hpp"

#include <algorithm>
#include <array>
#include <numeric>

#include "separator.hpp"

namespace phasic_mpi {
namespace {

constexpr int32_t kNone = PartTree::kNone;

size_t at(int32_t index) { return static_cast<size_t>(index); }

/// Cuts ranges of a list of vertices, which it sorts by side as it goes.
class Dissection {
 public:
  Dissection(const SymmetricPattern& pattern, int32_t leaf_vertices, PartTree& tree)
      : pattern_(pattern), leaf_vertices_(leaf_vertices), tree_(tree) {
    const int32_t n = pattern.n();
    tree_.parent.clear();
    tree_.part_of.assign(at(n), kNone);
    place_.assign(at(n), kNone);
    const size_t limit = static_cast<size_t>(dense_limit(n));
    for (int32_t vertex = 0; vertex < n; ++vertex) {
      if (pattern.neighbours(vertex).size() > limit) continue;
      place_[at(vertex)] = static_cast<int32_t>(vertices_.size());
      vertices_.push_back(vertex);
    }
    sorted_.resize(vertices_.size());
  }

  Status run(const std::atomic<bool>& cancel) {
    pending_.push_back({0, static_cast<int32_t>(vertices_.size()), kNone});
    while (!pending_.empty()) {
      const Range range = pending_.back();
      pending_.pop_back();
      if (range.end - range.begin > leaf_vertices_) {
        load(range);
        const Status status = separator_.find(cancel, side_);
        if (status != Status::ok) return status;
        if (cut(range)) continue;
      }
      add_part(range.begin, range.end, range.parent);
    }
    return Status::ok;
  }

 private:
  struct Range {
    int32_t begin;
    int32_t end;
    int32_t parent;
  };

  void load(const Range& range) {
    WeightedGraph& graph = separator_.graph();
    graph.ptr.assign(1, 0);
    graph.neighbour.clear();
    const auto n_range = static_cast<uint32_t>(range.end - range.begin);
    for (int32_t place = range.begin; place < range.end; ++place) {
      for (const int32_t neighbour : pattern_.neighbours(vertices_[at(place)])) {
        // Places before the range wrap round, and are not below its size either.
        const auto local = static_cast<uint32_t>(place_[at(neighbour)] - range.begin);
        if (local < n_range) graph.neighbour.push_back(static_cast<int32_t>(local));
      }
      graph.ptr.push_back(static_cast<int64_t>(graph.neighbour.size()));
    }
    graph.weight.assign(n_range, 1);
    graph.edge_weight.assign(graph.neighbour.size(), 1);
  }

  /// Makes a part of the separator and leaves both sides to be cut. False, and nothing done, if a
  /// side is small, or smaller than the separator.
  bool cut(const Range& range) {
    std::array<int32_t, 4> start{};
    for (const uint8_t side : side_) ++start[side + 1U];
    const int32_t smaller = std::min(start[1], start[2]);
    if (8 * int64_t{smaller} < std::ssize(side_) || start[3] > smaller) return false;
    std::partial_sum(start.begin(), start.end(), start.begin());
    std::array<int32_t, 3> next{range.begin + start[0], range.begin + start[1],
                                range.begin + start[2]};
    std::copy(vertices_.begin() + range.begin, vertices_.begin() + range.end, sorted_.begin());
    for (size_t local = 0; local < side_.size(); ++local) {
      int32_t& place = next[side_[local]];
      vertices_[at(place)] = sorted_[local];
      place_[at(sorted_[local])] = place;
      ++place;
    }
    const int32_t part = add_part(range.begin + start[2], range.end, range.parent);
    pending_.push_back({range.begin, range.begin + start[1], part});
    pending_.push_back({range.begin + start[1], range.begin + start[2], part});
    return true;
  }

  int32_t add_part(int32_t begin, int32_t end, int32_t parent) {
    const auto part = static_cast<int32_t>(tree_.parent.size());
    tree_.parent.push_back(parent);
    for (int32_t place = begin; place < end; ++place) {
      tree_.part_of[at(vertices_[at(place)])] = part;
    }
    return part;
  }

  const SymmetricPattern& pattern_;
  int32_t leaf_vertices_;
  PartTree& tree_;
  Separator separator_;
  std::vector<uint8_t> side_;
  std::vector<int32_t> vertices_;
  std::vector<int32_t> place_;  // of each vertex in vertices_
  std::vector<int32_t> sorted_;
  std::vector<Range> pending_;
};

}  // namespace

Status dissect(const SymmetricPattern& pattern, int32_t leaf_vertices,
               const std::atomic<bool>& cancel, PartTree& tree) {
  return Dissection(pattern, leaf_vertices, tree).run(cancel);
}

}  // namespace phasic_mpi
