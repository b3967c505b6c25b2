#include "edge_matrix.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "plan.hpp"

namespace phasic_mpi {
namespace {

size_t at(int64_t index) { return static_cast<size_t>(index); }

}  // namespace

EdgeMatrix::EdgeMatrix(const Plan& plan, std::span<const int64_t> weight_slot)
    : n_(plan.n_transient()), inner_(n_, Run{0, 0}), outer_(n_) {
  const TraceView& trace = plan.trace();
  const std::vector<Plan::Block>& blocks = plan.way(false).blocks;
  const int64_t n_inner = blocks.empty() ? 0 : blocks.front().off_weight;
  const auto first_off = static_cast<int32_t>(n_inner);
  target_.resize(at(first_off) + trace.off_col.size());
  for (size_t b = 0; b < blocks.size(); ++b) {
    if (trace.block_pattern[b] < 0) continue;
    const int64_t first_row = trace.pattern_ptr[at(trace.block_pattern[b])];
    const int64_t shift = trace.row_ptr[at(first_row)] - trace.value_ptr[b];
    auto weight = static_cast<int32_t>(blocks[b].edge_weight);
    const int64_t last = weight + blocks[b].n_edges;
    for (int64_t row = first_row; row < first_row + blocks[b].n; ++row) {
      const int32_t begin = weight;
      for (; weight < last; ++weight) {
        const int64_t entry = weight_slot[at(weight)] + shift;
        if (entry >= trace.row_ptr[at(row) + 1]) break;
        const int64_t column = first_row + trace.col[at(entry)];
        target_[at(weight)] = static_cast<int32_t>(blocks[b].first + trace.order[at(column)]);
      }
      inner_[at(blocks[b].first + trace.order[at(row)])] = {begin, weight};
    }
  }
  std::copy(trace.off_col.begin(), trace.off_col.end(), target_.begin() + first_off);
  for (size_t i = 0; i < n_; ++i) {
    outer_[i] = {first_off + static_cast<int32_t>(trace.off_ptr[i]),
                 first_off + static_cast<int32_t>(trace.off_ptr[i + 1])};
  }
}

int64_t EdgeMatrix::fewest_jumps(std::span<const int32_t> from,
                                 std::span<const int32_t> exit_weight) const {
  std::vector<int32_t> queue;
  std::vector<bool> seen(n_);
  const auto reach = [&](int32_t position) {
    if (seen[at(position)]) return;
    seen[at(position)] = true;
    queue.push_back(position);
  };
  for (const int32_t position : from) {
    if (position < 0 || at(position) >= n_) throw std::invalid_argument("position out of range");
    reach(position);
  }
  int64_t n_jumps = 1;
  for (size_t first = 0, end = queue.size(); first < queue.size(); end = queue.size(), ++n_jumps) {
    for (; first < end; ++first) {
      const size_t i = at(queue[first]);
      if (exit_weight[i] >= 0) return n_jumps;
      for (const Run& run : {inner_[i], outer_[i]}) {
        for (size_t e = at(run.begin); e < at(run.end); ++e) reach(target_[e]);
      }
    }
  }
  return 0;
}

double EdgeMatrix::row(size_t i, const double* weight, const double* x) const {
  double sum = 0.0;
  for (const Run& run : {inner_[i], outer_[i]}) {
    for (size_t e = at(run.begin); e < at(run.end); ++e) sum += weight[e] * x[target_[e]];
  }
  return sum;
}

void EdgeMatrix::apply(const double* weight, const double* x, double* y) const {
  for (size_t i = 0; i < n_; ++i) y[i] = row(i, weight, x);
}

void EdgeMatrix::apply_transposed(const double* weight, const double* x, double* y) const {
  std::fill_n(y, n_, 0.0);
  for (size_t i = 0; i < n_; ++i) {
    for (const Run& run : {inner_[i], outer_[i]}) {
      for (size_t e = at(run.begin); e < at(run.end); ++e) y[target_[e]] += weight[e] * x[i];
    }
  }
}

void EdgeMatrix::powers(const double* weight, const double* stay, const double* start,
                        const double* last, std::span<double> out) const {
  std::vector<size_t> support;
  for (size_t i = 0; i < n_; ++i) {
    if (start[i] != 0.0) support.push_back(i);
  }
  std::vector<double> x(last, last + n_);
  std::vector<double> y(n_);
  for (double& term : out) {
    term = 0.0;
    for (const size_t i : support) term += start[i] * x[i];
    for (size_t i = 0; i < n_; ++i) y[i] = stay[i] * x[i] + row(i, weight, x.data());
    std::swap(x, y);
  }
}

}  // namespace phasic_mpi
