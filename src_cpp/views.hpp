// Read-only views of the arrays that the core works on; they own nothing.
#pragma once

#include <cstdint>
#include <span>

namespace phasic_mpi {

/// What is recorded at once, as CSR in local numbering: columns ascend within a row, without the
/// diagonal. Either a whole strongly connected component, with its internal edges, or a part of one
/// (`cut.hpp`). A part lists three kinds of vertices one after another: those *below*, which stand
/// for what is eliminated before it, its own, and its *boundary*, which is eliminated after it.
struct BlockView {
  std::span<const int64_t> row_ptr;  // size n + 1
  std::span<const int32_t> col;      // size row_ptr[n]
  int32_t n_below = 0;
  int32_t n_boundary = 0;

  [[nodiscard]] int32_t n() const {
    return row_ptr.empty() ? 0 : static_cast<int32_t>(row_ptr.size() - 1);
  }
  [[nodiscard]] int32_t n_own() const { return n() - n_below - n_boundary; }
  [[nodiscard]] int32_t n_recorded() const { return n() - n_below; }  // rows of the pattern
  [[nodiscard]] bool is_part() const { return n_below + n_boundary > 0; }
};

}  // namespace phasic_mpi
