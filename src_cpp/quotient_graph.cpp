#include "quotient_graph.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

namespace phasic_mpi {
namespace {

constexpr int32_t kNone = AssemblyTree::kNone;
constexpr int32_t kElement = -1;        // n_elements of a node that is an element
constexpr uint32_t kMostChains = 4096;  // a power of two; the table stays in the fastest cache

uint64_t pairs(int32_t n) {
  return n < 2 ? 0 : static_cast<uint64_t>(n) * static_cast<uint64_t>(n - 1) / 2;
}

/// Ranks are fills up to 8, then four to each doubling. Finer ranks did not give better orders:
/// fills are estimates, and taking equals in turn spreads elimination over the graph.
int32_t rank_of(uint64_t fill) {
  const int32_t shift = std::max(0, static_cast<int32_t>(std::bit_width(fill)) - 3);
  return 4 * shift + static_cast<int32_t>(fill >> shift);
}

int32_t n_ranks(int32_t n) { return rank_of(pairs(n)) + 1; }

/// Ranks of vertices that are not first come after those of the ones that are.
constexpr int32_t kQueues = 2;

}  // namespace

void PivotQueue::insert(int32_t variable, int32_t rank) {
  List& list = list_[rank];
  link_[variable] = {kNone, list.last, rank};
  (list.last != kNone ? link_[list.last].next : list.first) = variable;
  list.last = variable;
  least_ = std::min(least_, rank);
}

void PivotQueue::remove(int32_t variable) {
  const Link& link = link_[variable];
  List& list = list_[link.rank];
  (link.next != kNone ? link_[link.next].previous : list.last) = link.previous;
  (link.previous != kNone ? link_[link.previous].next : list.first) = link.next;
}

int32_t PivotQueue::take_least() {
  while (list_[least_].first == kNone) ++least_;
  const int32_t variable = list_[least_].first;
  remove(variable);
  return variable;
}

QuotientGraph::QuotientGraph(SymmetricPattern pattern) : QuotientGraph(std::move(pattern), {}, 1) {
  set_dense_aside();
  enqueue_all();
}

QuotientGraph::QuotientGraph(SymmetricPattern pattern, std::vector<Role> role)
    : QuotientGraph(std::move(pattern), std::move(role), kQueues) {
  enqueue_all();
}

QuotientGraph::QuotientGraph(SymmetricPattern pattern, std::vector<Role> role, int32_t n_queues)
    : n_(pattern.n()),
      n_left_(n_),
      n_pending_(n_ - static_cast<int32_t>(std::ranges::count(role, Role::kept))),
      pool_(std::move(pattern.col)),
      pool_end_(pattern.ptr.back()),
      capacity_(pattern.capacity),
      node_(n_),
      role_(std::move(role)),
      queue_(n_, n_ranks(n_) * n_queues),
      chain_head_(std::min(kMostChains, std::bit_ceil(static_cast<uint32_t>(n_))), kNone) {
  for (int32_t index = 0; index < n_; ++index) {
    Node& node = node_[index];
    node.start = pattern.ptr[index];
    node.length = node.degree = static_cast<int32_t>(pattern.ptr[index + 1] - node.start);
  }
}

void QuotientGraph::enqueue_all() {
  for (int32_t index = n_ - 1; index >= 0; --index) {
    if (node_[index].weight != 0) enqueue(index, pairs(node_[index].degree));
  }
}

void QuotientGraph::set_dense_aside() {
  const int32_t limit = dense_limit(n_);
  for (Node& node : node_) {
    if (node.length <= limit) continue;
    for (int64_t at = node.start; at < node.start + node.length; ++at) --node_[pool_[at]].degree;
    node.weight = 0;
    --n_left_;
    --n_pending_;
  }
  for (Node& node : node_) {
    if (node.weight == 0) node.length = 0;
  }
}

Status QuotientGraph::eliminate_all(const std::atomic<bool>& cancel) {
  while (n_pending_ > 0) {
    if (cancel.load(std::memory_order_relaxed)) return Status::cancelled;
    open_element(queue_.take_least());
    measure_overlaps();
    for (int64_t at = first_; at < last_; ++at) update(pool_[at]);
    advance_stamp(largest_);
    merge_indistinguishable();
    close_element();
  }
  return Status::ok;
}

/// Lists the neighbours of `pivot` and absorbs the elements it belonged to.
void QuotientGraph::open_element(int32_t pivot) {
  Node& node = node_[pivot];
  pivot_ = pivot;
  pivot_degree_ = 0;
  node.weight = -node.weight;
  // Without elements, the list is the pivot's own, less some entries. Otherwise it goes to the end;
  // its degree bounds its length.
  const bool in_place = node.n_elements == 0;
  if (!in_place && pool_end_ + node.degree > capacity_) compact_pool();
  first_ = last_ = in_place ? node.start : pool_end_;

  const int64_t elements_end = node.start + node.n_elements;
  for (int64_t at = node.start; at < elements_end; ++at) {
    const Node& element = node_[pool_[at]];
    const int64_t end = element.start + element.length;
    for (int64_t member = element.start; member < end; ++member) gather(pool_[member]);
    absorb(pool_[at], pivot);
  }
  const int64_t end = node.start + node.length;
  for (int64_t at = elements_end; at < end; ++at) gather(pool_[at]);
  pool_end_ = std::max(pool_end_, last_);
}

/// Puts `variable` into the open element unless it is there or gone.
void QuotientGraph::gather(int32_t variable) {
  Node& node = node_[variable];
  if (node.weight <= 0) return;
  pivot_degree_ += node.weight;
  node.weight = -node.weight;
  pool_[last_++] = variable;
  if (!is_kept(variable)) queue_.remove(variable);
}

/// Marks each element that shares variables with the open one with stamp_ + the vertices it has
/// outside of it: all in one pass over the lists, which is what makes approximate degrees cheap.
void QuotientGraph::measure_overlaps() {
  for (int64_t at = first_; at < last_; ++at) {
    const Node& variable = node_[pool_[at]];
    const int64_t end = variable.start + variable.n_elements;
    for (int64_t place = variable.start; place < end; ++place) {
      Node& element = node_[pool_[place]];
      // Weights are negative here.
      if (element.mark >= stamp_) {
        element.mark += variable.weight;
      } else if (element.mark != 0) {
        element.mark = stamp_ + element.degree + variable.weight;
      }
    }
  }
}

/// Rewrites the list of a variable of the open element and bounds its degree outside of it.
void QuotientGraph::update(int32_t variable) {
  Node& node = node_[variable];
  int64_t out = node.start;
  uint32_t hash = 0;
  int64_t outside = update_elements(node, out, hash);
  const int64_t elements_end = out;
  outside += update_neighbours(node, out, hash);
  if (outside == 0 && !is_kept(variable)) {
    // All its neighbours are in the open element: it is eliminated with the pivot, without fill.
    node_[pivot_].weight += node.weight;
    pivot_degree_ += node.weight;
    absorb(variable, pivot_);
    return;
  }
  // The open element goes first. There is room: the list lost the pivot or an absorbed element.
  pool_[out] = pool_[elements_end];
  pool_[elements_end] = pool_[node.start];
  pool_[node.start] = pivot_;
  node.n_elements = static_cast<int32_t>(elements_end - node.start) + 1;
  node.length = static_cast<int32_t>(out - node.start) + 1;
  node.degree = static_cast<int32_t>(std::min<int64_t>(node.degree, outside));
  int32_t& head = chain_head_[hash & (chain_head_.size() - 1)];
  candidates_.push_back({variable, head, hash});
  head = static_cast<int32_t>(candidates_.size()) - 1;
}

/// Keeps the elements that reach out of the open one; the others are part of it.
int64_t QuotientGraph::update_elements(const Node& node, int64_t& out, uint32_t& hash) {
  int64_t outside = 0;
  const int64_t end = node.start + node.n_elements;
  for (int64_t at = node.start; at < end; ++at) {
    const int32_t element = pool_[at];
    const uint32_t mark = node_[element].mark;
    if (mark > stamp_) {
      outside += mark - stamp_;
      hash += static_cast<uint32_t>(element);
      pool_[out++] = element;
    } else if (mark == stamp_) {
      absorb(element, pivot_);
    }
  }
  return outside;
}

/// Keeps the neighbours that the open element does not cover.
int64_t QuotientGraph::update_neighbours(const Node& node, int64_t& out, uint32_t& hash) {
  int64_t outside = 0;
  const int64_t end = node.start + node.length;
  for (int64_t at = node.start + node.n_elements; at < end; ++at) {
    const int32_t neighbour = pool_[at];
    const int32_t weight = node_[neighbour].weight;
    if (weight <= 0) continue;
    outside += weight;
    hash += static_cast<uint32_t>(neighbour);
    pool_[out++] = neighbour;
  }
  return outside;
}

/// Variables of the open element with equal lists stay equal: from here on they are one variable.
void QuotientGraph::merge_indistinguishable() {
  for (Candidate& candidate : candidates_) {
    chain_head_[candidate.hash & (chain_head_.size() - 1)] = kNone;
    if (node_[candidate.variable].weight != 0) merge_into(candidate);
  }
  candidates_.clear();
}

/// Merges into a candidate those further down its chain that have the same list, and takes them out
/// of the chain: it would grow long where many are equal.
void QuotientGraph::merge_into(Candidate& candidate) {
  Node& node = node_[candidate.variable];
  bool marked = false;
  for (int32_t* link = &candidate.next; *link != kNone;) {
    Candidate& other = candidates_[*link];
    const bool comparable = are_comparable(candidate, other);
    if (comparable && !marked) {
      const auto list = pool_.get() + node.start;
      std::for_each(list, list + node.length, [this](int32_t it) { node_[it].mark = stamp_; });
      marked = true;
    }
    if (!comparable || !has_marked_list(node_[other.variable])) {
      link = &other.next;
      continue;
    }
    node.weight += node_[other.variable].weight;
    if (!role_.empty()) {
      role_[candidate.variable] = std::min(role_[candidate.variable], role_[other.variable]);
    }
    absorb(other.variable, candidate.variable);
    *link = other.next;
  }
  if (marked) advance_stamp(0);
}

/// Whether two candidates may have the same list, and may be one if they do.
bool QuotientGraph::are_comparable(const Candidate& a, const Candidate& b) const {
  const Node& node = node_[a.variable];
  const Node& twin = node_[b.variable];
  return a.hash == b.hash && node.length == twin.length && node.n_elements == twin.n_elements &&
         is_kept(a.variable) == is_kept(b.variable);
}

bool QuotientGraph::has_marked_list(const Node& node) const {
  const auto list = pool_.get() + node.start;
  return std::all_of(list, list + node.length,
                     [this](int32_t index) { return node_[index].mark == stamp_; });
}

/// Makes the open element a node like others and queues its variables again.
void QuotientGraph::close_element() {
  Node& pivot = node_[pivot_];
  pivot.weight = -pivot.weight;
  n_left_ -= pivot.weight;
  n_pending_ -= pivot.weight;
  int64_t out = first_;
  for (int64_t at = first_; at < last_; ++at) {
    const int32_t variable = pool_[at];
    if (node_[variable].weight == 0) continue;
    pool_[out++] = variable;
    requeue(variable);
  }
  if (pool_end_ == last_) pool_end_ = out;
  pivot.start = first_;
  pivot.length = static_cast<int32_t>(out - first_);
  pivot.n_elements = kElement;
  pivot.degree = pivot_degree_;
  largest_ = std::max(largest_, pivot_degree_);
  elements_.push_back(pivot_);
}

/// Queues a variable of the open element by the fill that eliminating it would add, per vertex.
void QuotientGraph::requeue(int32_t variable) {
  Node& node = node_[variable];
  node.weight = -node.weight;
  const int32_t inside = pivot_degree_ - node.weight;
  // Its degree outside of the open element, or before it was made, bounds the degree from here.
  const int64_t bound = int64_t{node.degree} + inside;
  node.degree = static_cast<int32_t>(std::min<int64_t>(bound, n_left_ - node.weight));
  // Its neighbours become a clique. Of that, the part in the open element is one already.
  const uint64_t fill = pairs(node.degree) - pairs(inside);
  enqueue(variable, fill / static_cast<uint64_t>(node.weight));
}

void QuotientGraph::enqueue(int32_t variable, uint64_t fill) {
  if (is_kept(variable)) return;
  const bool waits = !role_.empty() && role_[variable] == Role::plain;
  queue_.insert(variable, (waits ? n_ranks(n_) : 0) + rank_of(fill));
}

void QuotientGraph::absorb(int32_t index, int32_t parent) {
  Node& node = node_[index];
  node.parent = parent;
  node.length = 0;
  if (node.n_elements == kElement) {
    node.mark = 0;
  } else {
    node.weight = 0;
  }
}

/// Moves all lists to the front of the pool, in their order.
void QuotientGraph::compact_pool() {
  // The first entry of a list changes places with the number of its node, so that a sweep over the
  // pool meets the lists in order and knows whose they are. Only these numbers are negative.
  for (int32_t index = 0; index < n_; ++index) {
    Node& node = node_[index];
    if (node.length == 0) continue;
    node.start = std::exchange(pool_[node.start], ~index);
  }
  int64_t out = 0;
  for (int64_t at = 0; at < pool_end_;) {
    if (pool_[at] >= 0) {
      ++at;
      continue;
    }
    Node& node = node_[~pool_[at]];
    pool_[at] = static_cast<int32_t>(node.start);
    node.start = out;
    std::copy_n(pool_.get() + at, node.length, pool_.get() + out);
    at += node.length;
    out += node.length;
  }
  pool_end_ = out;
}

/// Makes all marks older than stamp_, after marks of up to stamp_ + span were given.
void QuotientGraph::advance_stamp(int32_t span) {
  stamp_ += static_cast<uint32_t>(span) + 1;
  // Half of the numbers are kept for spans, which are int32_t.
  if (stamp_ <= std::numeric_limits<uint32_t>::max() / 2) return;
  for (Node& node : node_) node.mark = std::min(node.mark, 1U);
  stamp_ = 2;
}

AssemblyTree QuotientGraph::assembly_tree() && {
  AssemblyTree tree{std::move(elements_), std::vector<int32_t>(n_), std::vector<int32_t>(n_)};
  std::vector<int32_t>& up = tree.element_of;
  for (int32_t index = 0; index < n_; ++index) {
    const Node& node = node_[index];
    tree.parent[index] = node.parent;
    up[index] = node.n_elements == kElement ? index : node.parent;
  }
  // Variables merged into others that were merged make long chains; halving them on the way up
  // keeps the sum of all walks nearly linear.
  for (int32_t vertex = 0; vertex < n_; ++vertex) {
    int32_t node = vertex;
    while (node != kNone && up[node] != kNone && up[up[node]] != up[node]) {
      node = up[node] = up[up[node]];
    }
    up[vertex] = node == kNone ? kNone : up[node];
  }
  return tree;
}

}  // namespace phasic_mpi
