// Products of dense panels, added to a third: nearly all of the work on blocks with much fill.
#pragma once

#include <cstddef>
#include <cstdint>

namespace phasic_mpi {

/// Adds left^T right to a target. Every number of the target takes its products one by one, in
/// ascending order of the rows of both, each fused with its addition where the machine can do that:
/// so its bits do not depend on how the work is cut into tiles, nor on which of the instruction
/// sets with fused operations it is done by.
struct DenseProducts {
  const double* left;   // `depth` rows of n_rows numbers
  const double* right;  // `depth` rows of n_columns numbers
  size_t left_stride;   // from row to row
  size_t right_stride;
  size_t depth;
  size_t n_rows;  // of the target
  size_t n_columns;
  double* target;
  size_t target_stride;
  const int32_t* rows;     // of the target that take the products, or null if they are the first
  const int32_t* columns;  // likewise, ascending
  bool only_behind;        // the diagonal: what is before it may be added or not

  /// Reads up to kBehind numbers behind each row of `right`, whatever they are.
  static constexpr size_t kBehind = 16;

  // So many rows are packed at most.
  static constexpr size_t kMostPacked = 192;
  /// Room for numbers that are packed.
  static constexpr size_t kRoom = kMostPacked * kMostPacked;

  /// By the widest registers that the machine has. `room` is for kRoom numbers.
  void add(double* room) const;
};

}  // namespace phasic_mpi
