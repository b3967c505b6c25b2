// What an elimination order will cost, known without eliminating.
#pragma once

#include <cstdint>
#include <span>

#include "symmetric_pattern.hpp"

namespace phasic_mpi {

/// What eliminating a block takes. Exact if its pattern is symmetric, else upper bounds.
struct OrderCost {
  int64_t n_entries = 0;   // of L + U, without the diagonal
  int64_t n_products = 0;  // multiplications of the elimination, jumps back to oneself included
};

/// Cost of eliminating `pattern` in `order`, from its elimination tree (Liu 1990) and the column
/// counts of its factor (Gilbert, Ng and Peyton 1994). O(edges * alpha(edges, n)) time, O(n)
/// memory.
OrderCost predict_cost(const SymmetricPattern& pattern, std::span<const int32_t> order);

}  // namespace phasic_mpi
