// A factorisation that is kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "block_factor.hpp"
#include "crew.hpp"
#include "plan.hpp"
#include "workspace.hpp"

namespace phasic_mpi {

/// M = (I - L)(S - U) for all diagonal blocks of a plan at one theta, for any number of right-hand
/// sides. The arithmetic, and so every bit, is that of BatchSolver, which keeps no factor.
class Factor {
 public:
  static constexpr int64_t kDone = -1;

  /// `weight` holds the weights of the plan, finite and at least 0, and must outlive the factor.
  Factor(std::shared_ptr<const Plan> plan, std::span<const double> weight);
  ~Factor() { plan_->workspaces().give_back(std::move(memory_)); }
  Factor(const Factor&) = delete;
  Factor& operator=(const Factor&) = delete;

  /// Returns kDone, or the position of a vertex that cannot be left at these weights: the first one
  /// that is eliminated in its block.
  int64_t factor(size_t n_threads);

  /// x = M^-1 b, in place; size n_transient. Of a window, the positions behind it are solved, and
  /// those before it are left alone. One thread at a time may solve.
  void solve(std::span<double> x);

  /// x = M^-T b, in place; size n_transient. Of a window, the positions before it are solved, and
  /// those behind it take what it adds to them.
  void solve_transposed(std::span<double> x);

 private:
  [[nodiscard]] std::span<const Plan::Block> blocks() const;
  [[nodiscard]] BlockFactor<double, 1> block_factor(size_t index);
  void factor_all(Crew& crew);
  [[nodiscard]] int64_t first_illegal();
  [[nodiscard]] size_t own(int64_t position) const {
    return static_cast<size_t>(position - plan_->first());
  }
  template <class Visit>
  void visit_off(const Plan::Block& block, const Visit& visit) const;

  class Worker;

  std::shared_ptr<const Plan> plan_;
  std::span<const double> weight_;
  std::vector<double> single_;      // inverse pivots of blocks of one vertex, by vertex
  std::vector<size_t> first_line_;  // of each block in the memory, and the end
  WorkspacePool::Memory memory_;
};

}  // namespace phasic_mpi
