#include "separator.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace phasic_mpi {
namespace {

constexpr int32_t kNone = -1;
constexpr int32_t kCoarsest = 60;  // vertices that are not contracted any further
constexpr int32_t kTrials = 4;
constexpr int32_t kCoarsestPasses = 6;
constexpr int32_t kPasses = 2;
constexpr int32_t kMatchedTogether = 16;

size_t at(int32_t index) { return static_cast<size_t>(index); }
size_t at(int64_t index) { return static_cast<size_t>(index); }

}  // namespace

Status Separator::find(const std::atomic<bool>& cancel, std::vector<uint8_t>& side) {
  random_state_ = 0;
  total_ = std::accumulate(graph().weight.begin(), graph().weight.end(), int64_t{0});
  most_ = total_ * 65 / 100;
  size_t depth = 0;
  while (coarsen(depth)) {
    if (cancel.load(std::memory_order_relaxed)) return Status::cancelled;
    ++depth;
  }
  separate_coarsest(level_[depth].graph, side);
  while (depth-- > 0) {
    if (cancel.load(std::memory_order_relaxed)) return Status::cancelled;
    project(level_[depth].coarse, side);
    refiner_.refine(level_[depth].graph, most_, kPasses, side);
  }
  return Status::ok;
}

/// Makes the next level; false if this one is small, or most of it would be left.
bool Separator::coarsen(size_t depth) {
  const int32_t n = level_[depth].graph.n();
  if (n <= kCoarsest) return false;
  if (level_.size() == depth + 1) level_.emplace_back();
  Level& fine = level_[depth];
  match(fine.graph);
  const int32_t n_coarse = number_pairs(fine.coarse);
  if (n_coarse > n - n / 5) return false;
  contract(fine, n_coarse, level_[depth + 1].graph);
  return true;
}

/// Pairs vertices. The order is random, or all pairs of a lattice would lie in one direction; but
/// vertices that are close in memory are matched one after the other.
void Separator::match(const WeightedGraph& graph) {
  const auto heaviest = static_cast<int32_t>(std::max<int64_t>(2, 3 * total_ / (2 * kCoarsest)));
  const int32_t n = graph.n();
  partner_.assign(at(n), kNone);
  blocks_.resize(at(n - 1) / kMatchedTogether + 1);
  std::iota(blocks_.begin(), blocks_.end(), 0);
  for (auto left = static_cast<int32_t>(blocks_.size()); left > 0; --left) {
    std::swap(blocks_[at(left - 1)], blocks_[at(random(left))]);
    const int32_t begin = blocks_[at(left - 1)] * kMatchedTogether;
    const int32_t end = std::min(n, begin + kMatchedTogether);
    for (int32_t vertex = begin; vertex < end; ++vertex) match_vertex(graph, vertex, heaviest);
  }
}

/// Pairs a vertex with the neighbour of the heaviest edge, unless together they are too heavy.
void Separator::match_vertex(const WeightedGraph& graph, int32_t vertex, int32_t heaviest) {
  if (partner_[at(vertex)] != kNone) return;
  int32_t partner = vertex;
  int32_t heaviest_edge = 0;
  for (int64_t edge = graph.ptr[at(vertex)]; edge < graph.ptr[at(vertex) + 1]; ++edge) {
    const int32_t candidate = graph.neighbour[at(edge)];
    if (graph.edge_weight[at(edge)] <= heaviest_edge || partner_[at(candidate)] != kNone) continue;
    if (graph.weight[at(vertex)] > heaviest - graph.weight[at(candidate)]) continue;
    heaviest_edge = graph.edge_weight[at(edge)];
    partner = candidate;
  }
  partner_[at(vertex)] = partner;
  partner_[at(partner)] = vertex;
}

/// Numbers pairs, and vertices left alone, in the order of their first vertices.
int32_t Separator::number_pairs(std::vector<int32_t>& coarse) {
  const auto n = static_cast<int32_t>(partner_.size());
  coarse.resize(partner_.size());
  first_.clear();
  for (int32_t vertex = 0; vertex < n; ++vertex) {
    const int32_t partner = partner_[at(vertex)];
    if (partner < vertex) continue;
    coarse[at(vertex)] = coarse[at(partner)] = static_cast<int32_t>(first_.size());
    first_.push_back(vertex);
  }
  return static_cast<int32_t>(first_.size());
}

/// Adds up the edges of each pair, row by row.
void Separator::contract(const Level& fine, int32_t n_coarse, WeightedGraph& coarse) {
  const WeightedGraph& graph = fine.graph;
  coarse.weight.assign(at(n_coarse), 0);
  coarse.ptr.assign(1, 0);
  const size_t most_entries = at(graph.ptr.back());
  if (coarse.neighbour.size() < most_entries) coarse.neighbour.resize(most_entries);
  if (coarse.edge_weight.size() < most_entries) coarse.edge_weight.resize(most_entries);
  entry_.assign(at(n_coarse), kNone);
  // The compiler cannot know that what is written here does not move the vectors.
  const int32_t* const coarse_of = fine.coarse.data();
  const int32_t* const neighbour = graph.neighbour.data();
  const int32_t* const edge_weight = graph.edge_weight.data();
  int32_t* const coarse_neighbour = coarse.neighbour.data();
  int32_t* const coarse_weight = coarse.edge_weight.data();
  int64_t* const entry_of = entry_.data();
  int64_t end = 0;
  for (int32_t row = 0; row < n_coarse; ++row) {
    const int64_t begin = end;
    const auto add_edges = [&](int32_t vertex) {
      coarse.weight[at(row)] += graph.weight[at(vertex)];
      const int64_t last = graph.ptr[at(vertex) + 1];
      for (int64_t edge = graph.ptr[at(vertex)]; edge < last; ++edge) {
        const int32_t target = coarse_of[neighbour[edge]];
        if (target == row) continue;
        if (entry_of[target] >= begin) {
          coarse_weight[entry_of[target]] += edge_weight[edge];
          continue;
        }
        coarse_neighbour[end] = target;
        coarse_weight[end] = edge_weight[edge];
        entry_of[target] = end++;
      }
    };
    const int32_t first = first_[at(row)];
    add_edges(first);
    if (partner_[at(first)] != first) add_edges(partner_[at(first)]);
    coarse.ptr.push_back(end);
  }
}

void Separator::separate_coarsest(const WeightedGraph& graph, std::vector<uint8_t>& side) {
  SideWeights best{};
  for (int32_t trial = 0; trial < kTrials; ++trial) {
    grow(graph, random(graph.n()), trial_);
    refiner_.refine(graph, most_, kCoarsestPasses, trial_);
    if (trial > 0 && !is_better(refiner_.weights(), best, most_)) continue;
    best = refiner_.weights();
    side.swap(trial_);
  }
}

/// Side 0 is what a breadth-first search from `seed` meets until it has half of the weight; the
/// separator is what touches it.
void Separator::grow(const WeightedGraph& graph, int32_t seed, std::vector<uint8_t>& side) {
  side.assign(at(graph.n()), 1);
  queue_.assign(1, seed);
  side[at(seed)] = kSeparator;
  int64_t grown = 0;
  int32_t next_seed = 0;
  for (size_t next = 0; 2 * grown < total_; ++next) {
    if (next == queue_.size()) {  // the rest is not connected with what was met
      while (side[at(next_seed)] != 1) ++next_seed;
      side[at(next_seed)] = kSeparator;
      queue_.push_back(next_seed);
    }
    const int32_t vertex = queue_[next];
    side[at(vertex)] = 0;
    grown += graph.weight[at(vertex)];
    for (const int32_t neighbour : graph.neighbours(vertex)) {
      if (side[at(neighbour)] != 1) continue;
      side[at(neighbour)] = kSeparator;
      queue_.push_back(neighbour);
    }
  }
}

/// Gives each vertex the side of the coarse vertex that it is part of.
void Separator::project(const std::vector<int32_t>& coarse, std::vector<uint8_t>& side) {
  trial_.resize(coarse.size());
  for (size_t vertex = 0; vertex < coarse.size(); ++vertex) {
    trial_[vertex] = side[at(coarse[vertex])];
  }
  side.swap(trial_);
}

/// SplitMix64 (Steele, Lea and Flood 2014), scaled to 0 .. below - 1.
int32_t Separator::random(int32_t below) {
  random_state_ += 0x9e3779b97f4a7c15;
  uint64_t bits = random_state_;
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
  bits = (bits ^ (bits >> 31)) >> 32;
  return static_cast<int32_t>(bits * static_cast<uint64_t>(below) >> 32);
}

}  // namespace phasic_mpi
