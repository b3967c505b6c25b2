// Values in groups, side by side.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace phasic_mpi {

/// Values by group; those of a group in the order in which they came.
template <class T>
class Grouped {
 public:
  /// `visit` hands each value with its group to the function that it gets; it is called twice and
  /// does the same both times.
  template <class Visit>
  Grouped(size_t n_groups, const Visit& visit) : ptr_(n_groups + 2) {
    // Counted two places up, so that filling in moves each pointer to where its group starts.
    visit([this](size_t group, const T&) { ++ptr_[group + 2]; });
    for (size_t group = 2; group < ptr_.size(); ++group) ptr_[group] += ptr_[group - 1];
    values_.resize(static_cast<size_t>(ptr_.back()));
    visit([this](size_t group, const T& value) {
      values_[static_cast<size_t>(ptr_[group + 1]++)] = value;
    });
  }

  [[nodiscard]] std::span<const T> operator[](size_t group) const {
    return std::span(values_).subspan(static_cast<size_t>(ptr_[group]),
                                      static_cast<size_t>(ptr_[group + 1] - ptr_[group]));
  }

 private:
  std::vector<int64_t> ptr_;
  std::vector<T> values_;
};

}  // namespace phasic_mpi
