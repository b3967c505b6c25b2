// Fill-reducing elimination order of one block.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "status.hpp"
#include "views.hpp"

namespace phasic_mpi {

/// Minimum degree on the pattern of B + B^T with approximate degrees (Amestoy, Davis and Duff
/// 1996), from which the fill is estimated that a vertex would add (Rothberg and Eisenstat 1998).
/// Then the assembly tree is postordered, which leaves the fill as it is and brings rows that use
/// each other together, and vertices eliminated together are sorted for the pattern of B itself.
Status minimum_degree_order(const BlockView& block, const std::atomic<bool>& cancel,
                            std::vector<int32_t>& order);

/// Nested dissection: minimum degree as above, but vertices of separators come after those that
/// they separate. Low separators are ordered together, which is better than one after the other
/// (Ashcraft and Liu 1998).
Status dissection_order(const BlockView& block, const std::atomic<bool>& cancel,
                        std::vector<int32_t>& order);

/// Finds an order in which eliminating the vertices of `block` adds few edges; `order[k]` is the
/// vertex eliminated k-th. `block` must be valid. Deterministic; `cancel` is read at every step.
///
/// Blocks of up to `kMarkowitzVertices` vertices get Markowitz's order, others that of minimum
/// degree. Where that leaves much to do, nested dissection is tried; of the two the one that needs
/// fewer multiplications (`predict_cost`) is taken, of equals minimum degree.
Status elimination_order(const BlockView& block, const std::atomic<bool>& cancel,
                         std::vector<int32_t>& order);

}  // namespace phasic_mpi
