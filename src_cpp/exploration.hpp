// Exploration of a process: its states, found by what leads to them, and the edges between these.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "edge_rows.hpp"
#include "state_table.hpp"

namespace phasic_mpi {

/// Transitions out of states that are being explored, as a rule gives them.
struct Transitions {
  std::span<const int64_t> row;         // per transition, which of the states it leaves
  std::span<const int32_t> target;      // the states they lead to, or one state for all
  std::span<const double> coefficient;  // n_parameters per transition, or one constant rate
  bool is_constant;
};

/// The vertex of a state is its number plus 1: vertex 0 is the start.
class Exploration {
 public:
  static constexpr int64_t kDone = -1;

  Exploration(int32_t state_length, size_t n_parameters)
      : states_(state_length), linear_(n_parameters), constant_(1) {}

  [[nodiscard]] const StateTable& states() const { return states_; }
  [[nodiscard]] EdgeRows& edges(bool is_constant) { return is_constant ? constant_ : linear_; }

  /// Bytes of the tables and of the states when they are unpacked.
  [[nodiscard]] size_t nbytes() const;

  /// Writes the vertex of each state, which is new or not.
  void insert(std::span<const int32_t> states, std::span<int32_t> vertex);

  /// Adds transitions and finds the states they lead to; those with a rate of zero are left out,
  /// whatever their targets. `row_of` says which row, of those that `close` ends, each explored
  /// state is. Returns the first transition from a row that there is not or with a number that is
  /// negative or not finite, without adding any; or kDone.
  int64_t add(std::span<const int32_t> row_of, const Transitions& transitions);

  /// Ends the exploration of `n_rows` states, of which the first is the vertex `first`.
  void close(int32_t first, int32_t n_rows);

 private:
  StateTable states_;
  EdgeRows linear_, constant_;
  // The transitions of one call whose rate is not zero.
  std::vector<int32_t> row_, target_, vertex_;
  std::vector<double> coefficient_;
};

}  // namespace phasic_mpi
