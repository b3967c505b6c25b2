// Factorisation and solves for batches of weights, block by block.
#pragma once

#include <complex>
#include <cstdint>
#include <memory>
#include <numeric>
#include <span>
#include <vector>

#include "crew.hpp"
#include "plan.hpp"

namespace phasic_mpi {

/// A row-major array of rows of numbers whose leading dimensions are those of the batch, or 1.
template <class T>
struct Operand {
  T* data;
  std::vector<int64_t> stride;  // of each batch dimension, in elements; 0 where it has size 1

  [[nodiscard]] T* at(const std::vector<int64_t>& index) const {
    return data + std::inner_product(stride.begin(), stride.end(), index.begin(), int64_t{0});
  }
};

/// The systems (M + diag(shift)) x_j = rhs_j + multiplier_(j-1) x_(j-1), j = 1..n_steps, or their
/// transpose (M + diag(shift))^T x_j = rhs_j + multiplier_j x_(j+1); terms out of range are 0.
/// T is double or std::complex<double>.
template <class T>
struct Systems {
  std::vector<int64_t> shape;  // of the batch
  int64_t n_steps;
  Operand<const double> weight;  // [..., n_weights]
  Operand<const T> shift;        // [..., n_transient]
  Operand<const T> multiplier;   // [..., n_steps - 1, n_transient]
  Operand<const T> rhs;          // [..., n_steps, n_transient]
  Operand<T> solution;           // [..., n_steps, n_transient]
};

/// Solves a batch. Systems that share weights and shift share one factorisation, and several of
/// these are computed side by side. M = (I - L)(S - U) for each diagonal block, by the elimination
/// of Grassmann, Taksar and Heyman (1985): a pivot is the sum of what is left in its row with the
/// rate of leaving the block carried along as one more column, so every component has a relative
/// error of a few n eps (O'Cinneide 1993). A block is factored just before it is solved, so that
/// its factor is still in the cache and only one block's factor is ever held.
///
/// Solutions are NaN where a weight is negative or not finite, and where a vertex cannot be left.
template <class T>
class BatchSolver {
 public:
  BatchSolver(std::shared_ptr<const Plan> plan, Systems<T> systems, bool transposed);

  /// Independent parts of the work.
  [[nodiscard]] size_t n_tasks() const { return n_tasks_; }

  /// Does one of them; several threads may do different ones. With one factorisation the first is
  /// all of the work, and the others help with it for as long as it takes.
  void run(size_t task);

 private:
  /// Arrays of one system.
  struct Item {
    const double* weight;
    const T* shift;
    const T* multiplier;
    const T* rhs;
    T* solution;
  };
  /// The one at `index` in `shape`, counted from another.
  Item item(Item from, const std::vector<int64_t>& shape, size_t index) const;

  void run_factors(size_t task);
  template <size_t n>
  void run_lanes(size_t task);

  std::shared_ptr<const Plan> plan_;
  Systems<T> systems_;
  bool transposed_;
  std::vector<int64_t> factors_;  // shape of the distinct factorisations
  std::vector<int64_t> right_;    // shape of the right-hand sides of each
  size_t n_factors_;
  size_t n_lanes_;
  size_t n_tasks_;
  Crew crew_;
};

}  // namespace phasic_mpi
