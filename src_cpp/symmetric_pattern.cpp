#include "symmetric_pattern.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace phasic_mpi {
namespace {

/// B^T as CSR, columns ascending.
struct Transpose {
  std::vector<int64_t> ptr;
  std::vector<int32_t> col;

  explicit Transpose(const BlockView& block)
      : ptr(block.row_ptr.size() + 1), col(block.col.size()) {
    // Counted two places up, so that filling in moves each pointer to where its row starts.
    for (const int32_t target : block.col) ++ptr[target + 2];
    std::partial_sum(ptr.begin(), ptr.end(), ptr.begin());
    for (int32_t row = 0; row < block.n(); ++row) {
      for (int64_t at = block.row_ptr[row]; at < block.row_ptr[row + 1]; ++at) {
        col[ptr[block.col[at] + 1]++] = row;
      }
    }
  }
};

}  // namespace

SymmetricPattern SymmetricPattern::clone() const {
  SymmetricPattern copy{ptr, std::make_unique_for_overwrite<int32_t[]>(capacity), capacity};
  std::copy_n(col.get(), ptr.back(), copy.col.get());
  return copy;
}

SymmetricPattern symmetric_pattern(const BlockView& block) {
  const Transpose transpose(block);
  const int64_t n_edges = std::ssize(block.col);
  SymmetricPattern out{std::vector<int64_t>(block.row_ptr.size()), nullptr, 0};
  // Room for all cases; pages that are never written to cost nothing.
  out.col = std::make_unique_for_overwrite<int32_t[]>(2 * n_edges + 2 * n_edges / 5 + block.n());
  int32_t* end = out.col.get();
  for (int32_t row = 0; row < block.n(); ++row) {
    const auto edges = block.col.begin();
    const auto reversed = transpose.col.begin();
    end = std::set_union(edges + block.row_ptr[row], edges + block.row_ptr[row + 1],
                         reversed + transpose.ptr[row], reversed + transpose.ptr[row + 1], end);
    out.ptr[row + 1] = end - out.col.get();
  }
  // A new element needs room for n entries; a fifth more keeps compaction rare.
  out.capacity = out.ptr.back() + out.ptr.back() / 5 + block.n();
  return out;
}

int32_t dense_limit(int32_t n) {
  return std::max(16, static_cast<int32_t>(10.0 * std::sqrt(static_cast<double>(n))));
}

}  // namespace phasic_mpi
