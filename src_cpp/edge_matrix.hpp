// Products of the matrix of edge weights with vectors, and sequences of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "trace_view.hpp"

namespace phasic_mpi {

/// The matrix W of the weights between transient vertices, row by row. The weights of a row lie in
/// two runs: those inside its block, then those to other blocks.
class EdgeMatrix {
 public:
  EdgeMatrix() = default;

  /// The slots of the weights ascend strictly and fit the trace, see Plan.
  EdgeMatrix(const TraceView& trace, std::span<const int64_t> weight_slot);

  /// Fewest edges from one of the positions to absorption, the edge into absorption included; 0 if
  /// there is no way. Throws std::invalid_argument if a position is out of range.
  [[nodiscard]] int64_t fewest_jumps(std::span<const int32_t> from,
                                     std::span<const int32_t> exit_weight) const;

  /// y = W x; weights in the order of the plan.
  void apply(const double* weight, const double* x, double* y) const;

  /// y = W^T x.
  void apply_transposed(const double* weight, const double* x, double* y) const;

  /// out[k] = start P^k last, k = 0..n_terms - 1, where P = W + diag(stay). All numbers are added
  /// up with the sign that they have; nothing is subtracted.
  void powers(const double* weight, const double* stay, const double* start, const double* last,
              std::span<double> out) const;

  /// out[m] = sum_k share[m, k] start P^k, m = 0..n_mixtures - 1, k = 0..n_terms - 1: one sequence
  /// of products for all mixtures.
  void mixtures(const double* weight, const double* stay, const double* start, const double* share,
                size_t n_mixtures, size_t n_terms, double* out) const;

 private:
  struct Run {
    int32_t begin;  // of the weights
    int32_t end;
  };
  [[nodiscard]] double row(size_t i, const double* weight, const double* x) const;
  void transpose();

  size_t n_ = 0;
  std::vector<Run> inner_;       // per position
  std::vector<Run> outer_;       // per position
  std::vector<int32_t> target_;  // of each weight before the exit rates, a position

  // Column by column, so that products with W^T write each number once.
  std::vector<int32_t> entry_ptr_;     // n + 1
  std::vector<int32_t> entry_source_;  // position that each entry comes from
  std::vector<int32_t> entry_weight_;  // its weight
};

}  // namespace phasic_mpi
