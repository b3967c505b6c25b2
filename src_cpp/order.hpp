// Fill-reducing elimination orders.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "status.hpp"
#include "symmetric_pattern.hpp"
#include "views.hpp"

namespace phasic_mpi {

/// Minimum degree on `pattern`, which is that of B + B^T, with approximate degrees (Amestoy, Davis
/// and Duff 1996), from which the fill is estimated that a vertex would add (Rothberg and Eisenstat
/// 1998). Then the assembly tree is postordered, which leaves the fill as it is and brings rows
/// that use each other together, and vertices eliminated together are sorted for the pattern of B
/// itself.
Status minimum_degree_order(const BlockView& block, SymmetricPattern pattern,
                            const std::atomic<bool>& cancel, std::vector<int32_t>& order);

/// Order of a whole block that is not cut, `order[k]` being the vertex eliminated k-th: Markowitz's
/// for up to `kMarkowitzVertices` vertices, minimum degree for others. Deterministic; `cancel` is
/// read at every step.
Status whole_order(const BlockView& block, const std::atomic<bool>& cancel,
                   std::vector<int32_t>& order);

/// Order of the own vertices of a part by minimum degree, with what is below eliminated and the
/// boundary there; then the boundary as it is listed. Numbers do not count what is below.
Status part_order(const BlockView& part, const std::atomic<bool>& cancel,
                  std::vector<int32_t>& order);

}  // namespace phasic_mpi
