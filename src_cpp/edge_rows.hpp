// Edges of a process, collected while it is explored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace phasic_mpi {

/// Edges with `n_coefficients` numbers each, sorted by source and target; parallel ones added up.
///
/// Vertices are explored some rows at a time: edges of these rows come in any order, then `close`
/// sorts them. Kept are 8 bytes and the coefficients of each distinct edge.
class EdgeRows {
 public:
  explicit EdgeRows(size_t n_coefficients) : n_coefficients_(n_coefficients) {}

  [[nodiscard]] size_t n_coefficients() const { return n_coefficients_; }
  [[nodiscard]] size_t size() const { return target_.size(); }
  [[nodiscard]] size_t nbytes() const;

  /// Adds edges from rows of those that are being explored, counted from 0.
  void add(std::span<const int32_t> row, std::span<const int32_t> target,
           std::span<const double> coefficient);

  /// Ends the exploration of `n_rows` rows, of which the first is the vertex `first`. Throws
  /// std::invalid_argument for an edge from another row.
  void close(int32_t first, int32_t n_rows);

  std::vector<int32_t> take_source() { return std::move(source_); }
  std::vector<int32_t> take_target() { return std::move(target_); }
  std::vector<double> take_coefficient() { return std::move(coefficient_); }

 private:
  void sort_open(size_t n_rows);

  size_t n_coefficients_;
  std::vector<int32_t> source_, target_;
  std::vector<double> coefficient_;  // n_coefficients per edge
  // Edges of the rows that are being explored, in the order in which they came.
  std::vector<int32_t> open_row_, open_target_;
  std::vector<double> open_coefficient_;
  // Target (upper half) and number of each open edge, by row.
  std::vector<uint64_t> sorted_;
  std::vector<size_t> row_end_;
};

}  // namespace phasic_mpi
