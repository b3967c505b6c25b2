#include "exploration.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace phasic_mpi {
namespace {

enum class Rate { illegal, zero, positive };

Rate rate_of(const double* coefficient, size_t n) {
  bool positive = false;
  for (size_t i = 0; i < n; ++i) {
    // False for NaN.
    if (!(coefficient[i] >= 0.0 && coefficient[i] <= std::numeric_limits<double>::max())) {
      return Rate::illegal;
    }
    positive |= coefficient[i] > 0.0;
  }
  return positive ? Rate::positive : Rate::zero;
}

}  // namespace

size_t Exploration::nbytes() const {
  const auto n_integers = static_cast<size_t>(states_.size()) * size_t(states_.length());
  return states_.nbytes() + linear_.nbytes() + constant_.nbytes() + n_integers * sizeof(int32_t);
}

void Exploration::insert(std::span<const int32_t> states, std::span<int32_t> vertex) {
  states_.insert(states, vertex);
  for (int32_t& number : vertex) ++number;
}

int64_t Exploration::add(std::span<const int32_t> row_of, const Transitions& transitions) {
  const auto length = static_cast<size_t>(states_.length());
  const size_t n = transitions.row.size();
  const size_t n_coefficients = edges(transitions.is_constant).n_coefficients();
  const bool one_target = transitions.target.size() == length && n != 1;
  if (transitions.coefficient.size() != n * n_coefficients ||
      (!one_target && transitions.target.size() != n * length)) {
    throw std::invalid_argument("expected a target and coefficients for every transition");
  }
  row_.clear();
  target_.clear();
  coefficient_.clear();
  for (size_t i = 0; i < n; ++i) {
    const double* coefficient = transitions.coefficient.data() + i * n_coefficients;
    const int64_t row = transitions.row[i];
    const Rate rate = rate_of(coefficient, n_coefficients);
    if (row < 0 || static_cast<size_t>(row) >= row_of.size() || rate == Rate::illegal) {
      return static_cast<int64_t>(i);
    }
    if (rate == Rate::zero) continue;
    row_.push_back(row_of[static_cast<size_t>(row)]);
    coefficient_.insert(coefficient_.end(), coefficient, coefficient + n_coefficients);
    if (one_target) continue;
    const int32_t* target = transitions.target.data() + i * length;
    target_.insert(target_.end(), target, target + length);
  }
  vertex_.resize(row_.size());
  if (one_target && !row_.empty()) {
    insert(transitions.target, std::span(vertex_).first(1));
    std::fill(vertex_.begin() + 1, vertex_.end(), vertex_.front());
  } else {
    insert(target_, vertex_);
  }
  edges(transitions.is_constant).add(row_, vertex_, coefficient_);
  return kDone;
}

void Exploration::close(int32_t first, int32_t n_rows) {
  linear_.close(first, n_rows);
  constant_.close(first, n_rows);
}

}  // namespace phasic_mpi
