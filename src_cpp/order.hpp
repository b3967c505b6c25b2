// Fill-reducing elimination order of one block.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "status.hpp"
#include "views.hpp"

namespace phasic_mpi {

/// Finds an order in which eliminating the vertices of `block` adds few edges; `order[k]` is the
/// vertex eliminated k-th. `block` must be valid. Deterministic; `cancel` is read at every step.
///
/// Blocks of up to `kMarkowitzVertices` vertices get Markowitz's order. Others: minimum degree on
/// the pattern of B + B^T with approximate degrees (Amestoy, Davis and Duff 1996), from which the
/// fill is estimated that a vertex would add (Rothberg and Eisenstat 1998). Then the assembly tree
/// is postordered, which leaves the fill as it is and brings rows that use each other together, and
/// vertices eliminated together are sorted for the pattern of B itself.
Status elimination_order(const BlockView& block, const std::atomic<bool>& cancel,
                         std::vector<int32_t>& order);

}  // namespace phasic_mpi
