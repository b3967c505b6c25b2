// Read-only views of the arrays that the core works on; they own nothing.
#pragma once

#include <cstdint>
#include <span>

namespace phasic_mpi {

/// Internal edges of one strongly connected component as CSR in local numbering: columns ascend
/// within a row, without the diagonal.
struct BlockView {
  std::span<const int64_t> row_ptr;  // size n + 1
  std::span<const int32_t> col;      // size row_ptr[n]

  [[nodiscard]] int32_t n() const {
    return row_ptr.empty() ? 0 : static_cast<int32_t>(row_ptr.size() - 1);
  }
};

}  // namespace phasic_mpi
