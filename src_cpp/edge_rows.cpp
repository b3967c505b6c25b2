#include "edge_rows.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace phasic_mpi {

size_t EdgeRows::nbytes() const {
  const size_t n_indices = source_.capacity() + target_.capacity() + open_row_.capacity() +
                           open_target_.capacity() + 2 * sorted_.capacity();
  const size_t n_numbers = coefficient_.capacity() + open_coefficient_.capacity();
  return n_indices * sizeof(int32_t) + n_numbers * sizeof(double);
}

void EdgeRows::add(std::span<const int32_t> row, std::span<const int32_t> target,
                   std::span<const double> coefficient) {
  if (target.size() != row.size() || coefficient.size() != row.size() * n_coefficients_) {
    throw std::invalid_argument("expected a target and coefficients for every edge");
  }
  open_row_.insert(open_row_.end(), row.begin(), row.end());
  open_target_.insert(open_target_.end(), target.begin(), target.end());
  open_coefficient_.insert(open_coefficient_.end(), coefficient.begin(), coefficient.end());
  if (open_row_.size() > std::numeric_limits<uint32_t>::max()) {
    throw std::length_error("too many edges in one step of the exploration");
  }
}

void EdgeRows::sort_open(size_t n_rows) {
  row_end_.assign(n_rows + 1, 0);
  for (const int32_t row : open_row_) {
    if (row < 0 || static_cast<size_t>(row) >= n_rows) {
      throw std::invalid_argument("row out of range");
    }
    ++row_end_[static_cast<size_t>(row) + 1];
  }
  for (size_t row = 1; row <= n_rows; ++row) row_end_[row] += row_end_[row - 1];
  sorted_.resize(open_row_.size());
  for (size_t edge = 0; edge < open_row_.size(); ++edge) {
    const uint64_t target = static_cast<uint32_t>(open_target_[edge]);
    sorted_[row_end_[static_cast<size_t>(open_row_[edge])]++] = (target << 32) | edge;
  }
  // Placing the edges has moved each entry from where its row begins to where it ends.
  auto begin = sorted_.begin();
  for (size_t row = 0; row < n_rows; ++row) {
    const auto end = sorted_.begin() + static_cast<std::ptrdiff_t>(row_end_[row]);
    std::sort(begin, end);
    begin = end;
  }
}

void EdgeRows::close(int32_t first, int32_t n_rows) {
  sort_open(static_cast<size_t>(n_rows));
  size_t place = 0;
  for (int32_t row = 0; row < n_rows; ++row) {
    int32_t last = -1;
    for (; place < row_end_[static_cast<size_t>(row)]; ++place) {
      const auto target = static_cast<int32_t>(sorted_[place] >> 32);
      const double* coefficient =
          open_coefficient_.data() + static_cast<uint32_t>(sorted_[place]) * n_coefficients_;
      if (target != last) {
        source_.push_back(first + row);
        target_.push_back(target);
        coefficient_.insert(coefficient_.end(), coefficient, coefficient + n_coefficients_);
        last = target;
        continue;
      }
      double* sum = coefficient_.data() + coefficient_.size() - n_coefficients_;
      for (size_t i = 0; i < n_coefficients_; ++i) sum[i] += coefficient[i];
    }
  }
  open_row_.clear();
  open_target_.clear();
  open_coefficient_.clear();
}

}  // namespace phasic_mpi
