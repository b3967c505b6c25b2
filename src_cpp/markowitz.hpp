// Markowitz's order for blocks that fit a machine word.
#pragma once

#include <cstdint>
#include <vector>

#include "views.hpp"

namespace phasic_mpi {

inline constexpr int32_t kMarkowitzVertices = 64;

/// Order of a block of at most `kMarkowitzVertices` vertices: always the vertex with the least
/// in-degree times out-degree in what is left (Markowitz 1957), of equal ones the first. Unlike
/// minimum degree on B + B^T it sees the direction of edges; sets of vertices are bits of a word.
std::vector<int32_t> markowitz_order(const BlockView& block);

}  // namespace phasic_mpi
