// A trace as replay reads it, checked once.
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

}  // namespace phasic_mpi
