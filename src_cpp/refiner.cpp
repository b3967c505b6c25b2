#include "refiner.hpp"

#include <algorithm>

namespace phasic_mpi {
namespace {

// Moves in a row without gain after which a pass ends.
constexpr size_t kFewestIdle = 15;
constexpr size_t kMostIdle = 30;

constexpr int64_t kGainUnit = int64_t{1} << 32;  // heaps hold gain * kGainUnit + vertex

size_t at(int32_t index) { return static_cast<size_t>(index); }

uint8_t other(uint8_t side) { return static_cast<uint8_t>(1 - side); }

}  // namespace

bool is_better(const SideWeights& a, const SideWeights& b, int64_t most) {
  const int64_t heavier_a = std::max(a[0], a[1]);
  const int64_t heavier_b = std::max(b[0], b[1]);
  const int64_t excess_a = std::max<int64_t>(0, heavier_a - most);
  const int64_t excess_b = std::max<int64_t>(0, heavier_b - most);
  if (excess_a != excess_b) return excess_a < excess_b;
  if (a[kSeparator] != b[kSeparator]) return a[kSeparator] < b[kSeparator];
  return heavier_a < heavier_b;
}

void SeparatorRefiner::refine(const WeightedGraph& graph, int64_t most, int32_t n_passes,
                              std::vector<uint8_t>& side) {
  most_ = most;
  start(graph, side);
  while (n_passes-- > 0 && pass()) {
  }
}

void SeparatorRefiner::start(const WeightedGraph& graph, std::vector<uint8_t>& side) {
  graph_ = &graph;
  side_ = &side;
  total_ = {};
  separator_.clear();
  place_.resize(side.size());
  reach_.resize(side.size());
  moved_.assign(side.size(), 0);
  for (int32_t vertex = 0; vertex < graph.n(); ++vertex) {
    total_[side[at(vertex)]] += graph.weight[at(vertex)];
    if (side[at(vertex)] != kSeparator) continue;
    place_[at(vertex)] = static_cast<int32_t>(separator_.size());
    separator_.push_back(vertex);
    measure(vertex);
  }
}

/// Moves vertices one by one, each at most once, then goes back to the best state on the way.
/// Returns whether that is better than the first.
bool SeparatorRefiner::pass() {
  for (auto& heap : heap_) heap.clear();
  for (const int32_t vertex : separator_) {
    push(0, vertex);
    push(1, vertex);
  }
  const size_t most_idle = std::clamp(separator_.size(), kFewestIdle, kMostIdle);
  moves_.clear();
  drawn_.clear();
  SideWeights best = total_;
  size_t n_best = 0;
  int32_t vertex = 0;
  uint8_t to = 0;
  while (moves_.size() < n_best + most_idle && choose(vertex, to)) {
    move(vertex, to);
    if (!is_better(total_, best, most_)) continue;
    best = total_;
    n_best = moves_.size();
  }
  for (const Move& done : moves_) moved_[at(done.vertex)] = 0;
  while (moves_.size() > n_best) {
    take_back(moves_.back());
    moves_.pop_back();
  }
  return n_best > 0;
}

/// The move of most gain, ties to the lighter side, unless it would make the heavier side too
/// heavy.
bool SeparatorRefiner::choose(int32_t& vertex, uint8_t& to) {
  const std::array<bool, 2> has_move{settle_top(0), settle_top(1)};
  const uint8_t lighter = total_[0] <= total_[1] ? 0 : 1;
  const uint8_t heavier = other(lighter);
  to = lighter;
  if (has_move[heavier] && total_[heavier] + graph_->weight[at(top(heavier))] <= most_ &&
      (!has_move[lighter] || gain(heavier, top(heavier)) > gain(lighter, top(lighter)))) {
    to = heavier;
  }
  if (!has_move[to]) return false;
  vertex = top(to);
  return true;
}

/// Drops moves that are out of date until the first of the heap is not; false if none is left.
bool SeparatorRefiner::settle_top(uint8_t to) {
  std::vector<int64_t>& heap = heap_[to];
  while (!heap.empty()) {
    const int32_t vertex = top(to);
    const int64_t now = gain(to, vertex) * kGainUnit + vertex;
    const bool movable = (*side_)[at(vertex)] == kSeparator && moved_[at(vertex)] == 0;
    if (movable && heap.front() == now) return true;
    // A gain that rose was pushed when it did; one that fell is put right here.
    const bool fell = movable && heap.front() > now;
    std::pop_heap(heap.begin(), heap.end());
    heap.pop_back();
    if (fell) push(to, vertex);
  }
  return false;
}

int32_t SeparatorRefiner::top(uint8_t to) const {
  return static_cast<int32_t>(heap_[to].front() & (kGainUnit - 1));
}

void SeparatorRefiner::push(uint8_t to, int32_t vertex) {
  heap_[to].push_back(gain(to, vertex) * kGainUnit + vertex);
  std::push_heap(heap_[to].begin(), heap_[to].end());
}

/// By how much a move makes the separator lighter.
int32_t SeparatorRefiner::gain(uint8_t to, int32_t vertex) const {
  return graph_->weight[at(vertex)] - reach_[at(vertex)][other(to)];
}

void SeparatorRefiner::move(int32_t vertex, uint8_t to) {
  moves_.push_back({vertex, to, drawn_.size()});
  moved_[at(vertex)] = 1;
  change_side(vertex, to);
  for (const int32_t neighbour : graph_->neighbours(vertex)) {
    const uint8_t side = (*side_)[at(neighbour)];
    if (side == kSeparator) {
      reach_[at(neighbour)][to] += graph_->weight[at(vertex)];
    } else if (side != to) {
      draw_in(neighbour, side);
    }
  }
}

void SeparatorRefiner::draw_in(int32_t vertex, uint8_t from) {
  drawn_.push_back(vertex);
  change_side(vertex, kSeparator);
  reach_[at(vertex)] = {0, 0};
  for (const int32_t neighbour : graph_->neighbours(vertex)) {
    const uint8_t side = (*side_)[at(neighbour)];
    if (side != kSeparator) {
      reach_[at(vertex)][side] += graph_->weight[at(neighbour)];
      continue;
    }
    reach_[at(neighbour)][from] -= graph_->weight[at(vertex)];
    if (moved_[at(neighbour)] == 0) push(other(from), neighbour);
  }
  if (moved_[at(vertex)] != 0) return;
  push(0, vertex);
  push(1, vertex);
}

void SeparatorRefiner::take_back(const Move& done) {
  const uint8_t from = other(done.to);
  for (; drawn_.size() > done.first_drawn; drawn_.pop_back()) {
    change_side(drawn_.back(), from);
    add_to_reach(drawn_.back(), from, graph_->weight[at(drawn_.back())]);
  }
  change_side(done.vertex, kSeparator);
  add_to_reach(done.vertex, done.to, -graph_->weight[at(done.vertex)]);
  measure(done.vertex);
}

/// Moves a vertex into the separator or out of it.
void SeparatorRefiner::change_side(int32_t vertex, uint8_t to) {
  uint8_t& side = (*side_)[at(vertex)];
  total_[side] -= graph_->weight[at(vertex)];
  total_[to] += graph_->weight[at(vertex)];
  if (to == kSeparator) {
    place_[at(vertex)] = static_cast<int32_t>(separator_.size());
    separator_.push_back(vertex);
  } else {
    const int32_t last = separator_.back();
    separator_[at(place_[at(vertex)])] = last;
    place_[at(last)] = place_[at(vertex)];
    separator_.pop_back();
  }
  side = to;
}

void SeparatorRefiner::add_to_reach(int32_t vertex, uint8_t of, int32_t weight) {
  for (const int32_t neighbour : graph_->neighbours(vertex)) {
    if ((*side_)[at(neighbour)] == kSeparator) reach_[at(neighbour)][of] += weight;
  }
}

void SeparatorRefiner::measure(int32_t vertex) {
  reach_[at(vertex)] = {0, 0};
  for (const int32_t neighbour : graph_->neighbours(vertex)) {
    const uint8_t side = (*side_)[at(neighbour)];
    if (side != kSeparator) reach_[at(vertex)][side] += graph_->weight[at(neighbour)];
  }
}

}  // namespace phasic_mpi
