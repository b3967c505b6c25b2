// Numeric replay of a trace at one theta: subtraction-free factorisation and solves.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace phasic_mpi {

/// The arrays of an EliminationTrace (phasic_mpi/trace.py says what each holds) that replay reads.
struct TraceView {
  std::span<const int64_t> block_ptr;      // n_blocks + 1
  std::span<const int32_t> block_pattern;  // n_blocks
  std::span<const int64_t> value_ptr;      // n_blocks + 1
  std::span<const int64_t> pattern_ptr;    // n_patterns + 1
  std::span<const int32_t> order;          // n_rows
  std::span<const int64_t> row_ptr;        // n_rows + 1
  std::span<const int64_t> upper_ptr;      // n_rows
  std::span<const int32_t> col;            // row_ptr[n_rows]
  std::span<const int64_t> off_ptr;        // n_transient + 1
  std::span<const int32_t> off_col;        // off_ptr[n_transient]

  [[nodiscard]] size_t n_blocks() const { return block_pattern.size(); }
  [[nodiscard]] size_t n_transient() const { return off_ptr.size() - 1; }
  [[nodiscard]] int64_t n_slots() const {
    return value_ptr.back() + off_ptr.back() + static_cast<int64_t>(n_transient());
  }
};

/// True if every pointer ascends and every index is in range, so that replay may trust them.
bool is_valid(const TraceView& trace);

/// Scalar multiplications (each with an addition) of the factorisation of each pattern.
std::vector<int64_t> count_updates(const TraceView& trace);

/// M = (I - L)(S - U) for each diagonal block of M = diag(exit rates) - rates, by the elimination
/// of Grassmann, Taksar and Heyman (1985). A pivot is the sum of what is left in its row, with the
/// rate of leaving the block carried along as one more column: all numbers are sums of products of
/// non-negative numbers, so every component of a solution has a relative error of a few n eps
/// (O'Cinneide 1993).
class Factor {
 public:
  static constexpr int64_t kDone = -1;

  /// `values` holds the n_slots summed weights of the trace and is overwritten by L, U and the
  /// edges between blocks. Both must outlive the factor.
  Factor(const TraceView& trace, std::span<double> values);

  /// Returns kDone, or the position of a vertex that cannot be left at these weights.
  int64_t factor();

  /// x = M^-1 b, in place; size n_transient.
  void solve(std::span<double> x) const;

  /// x = M^-T b, in place; size n_transient.
  void solve_transposed(std::span<double> x) const;

 private:
  struct Block;
  [[nodiscard]] Block block(size_t index) const;
  int64_t factor_block(const Block& block, std::span<const double> leaving);
  void leaving_rates(const Block& block, std::span<double> leaving) const;

  TraceView trace_;
  std::span<double> values_;
  std::span<const double> off_;   // weights of the edges between blocks
  std::span<const double> exit_;  // rates to absorption
  std::vector<double> pivot_;     // per position, in elimination order within each block
  std::vector<double> work_;      // row accumulator of the largest block, zero between rows
  std::vector<double> escape_;    // exit column of the block being factored
  mutable std::vector<double> rhs_;
};

}  // namespace phasic_mpi
