// What all ways of eliminating a block have in common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "lanes.hpp"

namespace phasic_mpi {

PHASIC_MPI_INLINE constexpr size_t at(int64_t index) { return static_cast<size_t>(index); }

/// What the elimination carries along beside a row: its rate of leaving the block, and its
/// right-hand side. So a solve begins while its matrix is factored.
template <class T, size_t n>
struct Carried {
  typename Lanes<T, n>::Value escape;
  typename Lanes<T, n>::Value x;
};

/// Remembers lanes whose weights or pivots have no meaning.
template <class T, size_t n>
struct Pivots {
  using Value = typename Lanes<T, n>::Value;

  // Smallest normal number: the reciprocal of anything smaller may overflow.
  static constexpr double kSmallest = std::numeric_limits<double>::min();

  PHASIC_MPI_INLINE Value invert(const Value& pivot) {
    poison.meet(Lanes<T, n>::magnitude(pivot) - kSmallest);
    return Lanes<T, n>::inverse(pivot);
  }

  /// Whether this is the inverse of a pivot that has a meaning: normal, positive and finite.
  static bool is_legal(double inverse) { return inverse > 0.0 && inverse <= 1.0 / kSmallest; }

  Poison<n> poison;  // lanes that have no solution
};

}  // namespace phasic_mpi
