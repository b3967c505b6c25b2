#include "edge_matrix.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace phasic_mpi {
namespace {

size_t at(int64_t index) { return static_cast<size_t>(index); }

}  // namespace

EdgeMatrix::EdgeMatrix(const TraceView& trace, std::span<const int64_t> weight_slot)
    : n_(trace.n_transient()), inner_(n_, Run{0, 0}), outer_(n_) {
  size_t weight = 0;
  for (size_t b = 0; b < trace.n_blocks(); ++b) {
    if (trace.block_pattern[b] < 0) continue;
    const int64_t first_row = trace.pattern_ptr[at(trace.block_pattern[b])];
    const int64_t shift = trace.row_ptr[at(first_row)] - trace.value_ptr[b];
    const auto position = [&](int64_t row) {
      return static_cast<int32_t>(trace.block_ptr[b] + trace.order[at(row)]);
    };
    const int64_t n_rows = trace.block_ptr[b + 1] - trace.block_ptr[b];
    for (int64_t row = first_row; row < first_row + n_rows; ++row) {
      const size_t begin = weight;
      const int64_t row_end = trace.row_ptr[at(row) + 1] - shift;
      for (; weight < weight_slot.size() && weight_slot[weight] < row_end; ++weight) {
        target_.push_back(position(first_row + trace.col[at(weight_slot[weight] + shift)]));
      }
      inner_[at(position(row))] = {static_cast<int32_t>(begin), static_cast<int32_t>(weight)};
    }
  }
  target_.insert(target_.end(), trace.off_col.begin(), trace.off_col.end());
  const auto first_off = static_cast<int32_t>(weight);
  for (size_t i = 0; i < n_; ++i) {
    outer_[i] = {first_off + static_cast<int32_t>(trace.off_ptr[i]),
                 first_off + static_cast<int32_t>(trace.off_ptr[i + 1])};
  }
  transpose();
}

void EdgeMatrix::transpose() {
  entry_ptr_.assign(n_ + 1, 0);
  for (const int32_t target : target_) ++entry_ptr_[at(target) + 1];
  std::partial_sum(entry_ptr_.begin(), entry_ptr_.end(), entry_ptr_.begin());
  entry_source_.resize(target_.size());
  entry_weight_.resize(target_.size());
  std::vector<int32_t> next(entry_ptr_.begin(), entry_ptr_.end() - 1);
  for (size_t i = 0; i < n_; ++i) {
    for (const Run& run : {inner_[i], outer_[i]}) {
      for (int32_t e = run.begin; e < run.end; ++e) {
        const size_t entry = at(next[at(target_[at(e)])]++);
        entry_source_[entry] = static_cast<int32_t>(i);
        entry_weight_[entry] = e;
      }
    }
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

void EdgeMatrix::mixtures(const double* weight, const double* stay, const double* start,
                          const double* share, size_t n_mixtures, size_t n_terms,
                          double* out) const {
  std::vector<double> entry(entry_weight_.size());
  for (size_t e = 0; e < entry.size(); ++e) entry[e] = weight[entry_weight_[e]];
  std::fill_n(out, n_mixtures * n_, 0.0);
  std::vector<double> x(start, start + n_);
  std::vector<double> y(n_);
  for (size_t k = 0; k < n_terms; ++k) {
    for (size_t m = 0; m < n_mixtures; ++m) {
      const double part = share[m * n_terms + k];
      for (size_t j = 0; j < n_; ++j) out[m * n_ + j] += part * x[j];
    }
    if (k + 1 == n_terms) break;
    for (size_t j = 0; j < n_; ++j) {
      double sum = stay[j] * x[j];
      for (size_t e = at(entry_ptr_[j]); e < at(entry_ptr_[j + 1]); ++e) {
        sum += entry[e] * x[at(entry_source_[e])];
      }
      y[j] = sum;
    }
    std::swap(x, y);
  }
}

}  // namespace phasic_mpi
