// Cutting a large block into parts that are recorded independently of each other.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "status.hpp"
#include "views.hpp"

namespace phasic_mpi {

/// Blocks of fewer vertices are recorded whole.
inline constexpr int32_t kCutVertices = 600;

/// Parts that are not separators have at most so many vertices, unless no separator pays.
inline constexpr int32_t kPartVertices = 500;

/// One part of a block: what is recorded, and where it belongs.
///
/// What is eliminated before a part and meets it reaches it through strongly connected pieces, and
/// once all of a piece is eliminated, every way into it leads to every way out. So a vertex "below"
/// stands for each piece: under any order, eliminating these first fills in the part exactly as
/// eliminating all that they stand for, whose own patterns are not needed.
struct Part {
  std::vector<int64_t> row_ptr;
  std::vector<int32_t> col;
  int32_t n_below = 0;
  int32_t n_boundary = 0;
  std::vector<int32_t> vertex;  // of the block: own ones ascending, then the boundary ascending

  [[nodiscard]] BlockView view() const { return {row_ptr, col, n_below, n_boundary}; }
};

/// Cuts a valid block by nested dissection. Parts come in the order in which they are eliminated:
/// each of its vertices is an own vertex of one part, and the boundary of a part belongs to later
/// ones. Separators are cut into slices, one after the other, so that a large one is several units
/// of work. Dense vertices come last. The parts do not depend on the number of threads.
Status cut(const BlockView& block, int32_t leaf_vertices, const std::atomic<bool>& cancel,
           size_t n_threads, std::vector<Part>& parts);

/// Fills in the parts of a valid whole block if it is to be cut, or else its order. Cut are blocks
/// of `kCutVertices` or more that take hundreds of multiplications per edge under minimum degree,
/// if dissection gives a better order; large ones that take very many are cut without comparing.
/// The outcome does not depend on the number of threads.
Status cut_or_order(const BlockView& block, const std::atomic<bool>& cancel, size_t n_threads,
                    std::vector<Part>& parts, std::vector<int32_t>& order);

/// The order in which `record` eliminates a valid whole block.
Status elimination_order(const BlockView& block, const std::atomic<bool>& cancel,
                         std::vector<int32_t>& order);

}  // namespace phasic_mpi
