// Distinct numbers of a bounded range, without sorting them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace phasic_mpi {

/// The distinct ones among some numbers, ascending, and the index among them of each number.
struct Distinct {
  std::vector<int64_t> number;
  std::vector<int64_t> index;
};

/// All of `numbers` are at least 0 and less than `end`. Takes O(numbers + end / 64) operations, and
/// meanwhile a quarter of a byte for each number below `end`.
Distinct distinct(std::span<const int64_t> numbers, int64_t end);

}  // namespace phasic_mpi
