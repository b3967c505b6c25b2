#include "tarjan.hpp"

#include <algorithm>
#include <utility>

namespace phasic_mpi {
namespace {

constexpr int32_t kNone = StrongComponents::kNone;

size_t at(int32_t index) { return static_cast<size_t>(index); }

class Tarjan {
 public:
  Tarjan(const Csr& graph, Sinks sinks)
      : graph_(graph),
        sinks_(sinks),
        n_(static_cast<int32_t>(graph.ptr.size() - 1)),
        index_(at(n_), kNone),
        low_(at(n_)),
        next_edge_(graph.ptr.begin(), graph.ptr.end() - 1),
        found_{std::vector<int32_t>(at(n_), kNone), 0} {}

  StrongComponents run() && {
    for (int32_t root = 0; root < n_; ++root) {
      if (takes_part(root) && index_[at(root)] == kNone) visit(root);
    }
    return std::move(found_);
  }

 private:
  [[nodiscard]] bool takes_part(int32_t vertex) const {
    return sinks_ == Sinks::counted || graph_.ptr[at(vertex)] < graph_.ptr[at(vertex) + 1];
  }

  void visit(int32_t root) {
    enter(root);
    while (!path_.empty()) {
      const int32_t vertex = path_.back();
      if (next_edge_[at(vertex)] < graph_.ptr[at(vertex) + 1]) {
        follow(vertex, graph_.col[static_cast<size_t>(next_edge_[at(vertex)]++)]);
      } else {
        leave(vertex);
      }
    }
  }

  void enter(int32_t vertex) {
    index_[at(vertex)] = low_[at(vertex)] = n_entered_++;
    open_.push_back(vertex);
    path_.push_back(vertex);
  }

  void follow(int32_t vertex, int32_t target) {
    if (!takes_part(target)) return;
    if (index_[at(target)] == kNone) {
      enter(target);
    } else if (found_.of[at(target)] == kNone) {
      low_[at(vertex)] = std::min(low_[at(vertex)], index_[at(target)]);
    }
  }

  void leave(int32_t vertex) {
    path_.pop_back();
    if (!path_.empty()) {
      const size_t parent = at(path_.back());
      low_[parent] = std::min(low_[parent], low_[at(vertex)]);
    }
    if (low_[at(vertex)] != index_[at(vertex)]) return;
    for (int32_t member = kNone; member != vertex;) {
      member = open_.back();
      open_.pop_back();
      found_.of[at(member)] = found_.count;
    }
    ++found_.count;
  }

  const Csr& graph_;
  Sinks sinks_;
  int32_t n_;
  int32_t n_entered_ = 0;
  std::vector<int32_t> index_;      // order of discovery
  std::vector<int32_t> low_;        // smallest index reachable through open vertices
  std::vector<int64_t> next_edge_;  // edge to follow next
  std::vector<int32_t> open_;       // vertices whose component is not complete
  std::vector<int32_t> path_;       // the depth-first path: Tarjan's recursion, on the heap
  StrongComponents found_;
};

}  // namespace

StrongComponents strong_components(const Csr& graph, Sinks sinks) {
  return Tarjan(graph, sinks).run();
}

}  // namespace phasic_mpi
