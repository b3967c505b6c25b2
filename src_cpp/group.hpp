// Systems of several theta, one per lane: the work of one task of a batch.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "block_factor.hpp"
#include "crew.hpp"
#include "lanes.hpp"
#include "pivots.hpp"
#include "plan.hpp"
#include "workspace.hpp"

namespace phasic_mpi {

/// One array per lane; often all lanes share it.
template <class T, size_t n>
class Source {
 public:
  explicit Source(const std::array<const T*, n>& lanes)
      : lanes_(lanes),
        shared_(std::ranges::all_of(lanes, [&](const T* p) { return p == lanes[0]; })) {}

  PHASIC_MPI_INLINE auto operator[](size_t index) const {
    if (shared_) return Lanes<T, n>::spread(lanes_[0][index]);
    return Lanes<T, n>::load(lanes_, index);
  }

 private:
  std::array<const T*, n> lanes_;
  bool shared_;
};

/// Systems of up to `n` factorisations, one per lane, by the operations of `Lanes<T, n>`.
template <class T, size_t n>
class Group {
  using Lane = Lanes<T, n>;
  using Real = typename Lane::Real;
  using Value = typename Lane::Value;

 public:
  struct Right {
    Source<T, n> multiplier;
    Source<T, n> rhs;
    std::array<T*, n> solution;
  };
  struct Arrays {
    std::array<const double*, n> weight;
    Source<T, n> shift;
    std::vector<Right> right;
  };

  Group(const Plan& plan, int64_t n_steps, const Arrays& arrays, Crew& crew)
      : plan_(plan),
        way_(plan.way(BlockFactor<T, n>::kUse)),
        off_ptr_(plan.off_ptr().data()),
        off_col_(plan.off_col().data()),
        n_steps_(n_steps),
        n_(static_cast<int64_t>(plan.n_transient())),
        arrays_(arrays),
        crew_(crew) {
    Workspace counter;
    place(counter);
    memory_ = plan_.workspaces().take(counter.n_lines());
    Workspace workspace(memory_.data());
    place(workspace);
    factor_.clear(way_.sizes);
  }
  ~Group() { plan_.workspaces().give_back(std::move(memory_)); }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  template <bool fused>
  PHASIC_MPI_INLINE void solve() {
    check_weights();
    for (size_t b = way_.blocks.size(); b-- > 0;) {
      const Plan::Block& block = way_.blocks[b];
      load_weights(block);
      if (b > 0) fetch(way_.blocks[b - 1].edge_weight, way_.blocks[b - 1].n_edges);
      for (size_t right = 0; right < arrays_.right.size(); ++right) {
        for (int64_t step = 0; step < n_steps_; ++step) {
          Value* const x = solution(right, step) + block.first;
          if (right == 0 && step == 0) {
            enter_first(block);
            factor<fused>(block, x);
          } else {
            enter(block, right, step);
            factor_.template forward<fused>(block, x);
          }
          if (b > 0) fetch(way_.blocks[b - 1].off_weight, way_.blocks[b - 1].n_off);
          factor_.backward(block, x, [&] { fetch_some(); });
        }
      }
    }
    store();
  }

  template <bool fused>
  PHASIC_MPI_INLINE void solve_transposed() {
    check_weights();
    load_right();
    for (const Plan::Block& block : way_.blocks) {
      load_weights(block);
      leave(block);
      factor<fused>(block, scratch_);  // which nothing reads
      for (size_t right = 0; right < arrays_.right.size(); ++right) {
        for (int64_t step = n_steps_; step-- > 0;) solve_block_transposed(block, right, step);
      }
    }
    store();
  }

 private:
  void place(Workspace& workspace) {
    const Plan::Sizes& sizes = way_.sizes;
    if constexpr (n > 1) {
      edge_lanes_ = workspace.take<Real>(sizes.edges);
      off_lanes_ = workspace.take<Real>(sizes.off);
      exit_lanes_ = workspace.take<Real>(sizes.exits);
    }
    carried_ = workspace.take<Carried<T, n>>(sizes.vertices);
    scratch_ = workspace.take<Value>(sizes.vertices);
    x_ = workspace.take<Value>(arrays_.right.size() * at(n_steps_ * n_));
    factor_.place(workspace, sizes, workspace.take<Value>(1));
  }

  [[nodiscard]] PHASIC_MPI_INLINE Value* solution(size_t right, int64_t step) {
    return x_ + (right * at(n_steps_) + at(step)) * at(n_);
  }

  /// Those of one theta are checked at once, those of several when they are loaded.
  PHASIC_MPI_INLINE void check_weights() {
    if constexpr (n == 1) pivots_.poison.meet(arrays_.weight[0], plan_.n_weights());
  }

  PHASIC_MPI_INLINE void load_weights(const Plan::Block& block) {
    if (factor_.takes_edges(block)) {
      factor_.begin_edges(block);
      visit_weights(block.edge_weight, block.n_edges, [&](size_t edge, const Real& weight) {
        factor_.put_edge(block, edge, weight);
      });
    } else {
      edge_ = load_range(block.edge_weight, block.n_edges, edge_lanes_);
    }
    off_ = load_range(block.off_weight, block.n_off, off_lanes_);
    exit_ = load_range(block.exit_weight, block.n_exits, exit_lanes_);
  }

  PHASIC_MPI_INLINE const Real* load_range(int64_t first, int64_t count, Real* lanes) {
    if constexpr (n == 1) return arrays_.weight[0] + first;
    visit_weights(first, count, [&](size_t i, const Real& weight) { lanes[i] = weight; });
    return lanes;
  }

  template <class Put>
  PHASIC_MPI_INLINE void visit_weights(int64_t first, int64_t count, const Put& put) {
    Poison<n> poison = pivots_.poison;
    Lanes<double, n>::load_all(arrays_.weight, at(first), at(count),
                               [&](size_t i, const Real& weight) {
                                 if constexpr (n > 1) poison.meet(weight);
                                 put(i, weight);
                               });
    pivots_.poison = poison;
  }

  /// Fetches some more weights of the block to come. All at once they would keep others waiting.
  PHASIC_MPI_INLINE void fetch_some() {
    if constexpr (n > 1) {
      if (fetched_ == fetched_end_) return;
      for (const double* lane : arrays_.weight) __builtin_prefetch(lane + fetched_, 0, 2);
      fetched_ += kLine;
    }
  }

  PHASIC_MPI_INLINE void fetch(int64_t first, int64_t count) {
    fetched_ = first;
    fetched_end_ = first + (count + kLine - 1) / kLine * kLine;
  }

  PHASIC_MPI_INLINE void load_right() {
    for (size_t right = 0; right < arrays_.right.size(); ++right) {
      Value* const x = solution(right, 0);
      for (size_t i = 0; i < at(n_steps_ * n_); ++i) x[i] = arrays_.right[right].rhs[i];
    }
  }

  PHASIC_MPI_INLINE void store() {
    const Real poison = pivots_.poison.value();
    for (size_t right = 0; right < arrays_.right.size(); ++right) {
      Value* const x = solution(right, 0);
      if (pivots_.poison.any()) {
        for (size_t i = 0; i < at(n_steps_ * n_); ++i) x[i] += poison;
      }
      Lane::store_all(x, at(n_steps_ * n_), arrays_.right[right].solution);
    }
  }

  /// Carries along the first right-hand side.
  PHASIC_MPI_INLINE void enter_first(const Plan::Block& block) {
    const Source<T, n>& rhs = arrays_.right[0].rhs;
    const int32_t* col = off_col_ + off_ptr_[block.first];
    const Real* exit = exit_;
    const Real* off = off_;
    for (int64_t v = 0; v < block.n; ++v) {
      const size_t p = at(block.first + v);
      Value rate = arrays_.shift[p];
      Value x = rhs[p];
      if (plan_.exit_weight()[p] >= 0) rate += *exit++;
      const int64_t n_off = off_ptr_[p + 1] - off_ptr_[p];
      for (int64_t e = 0; e < n_off; ++e) {
        const Real weight = *off++;
        rate += weight;
        x += x_[*col++] * weight;
      }
      carried_[v] = {rate, x};
    }
  }

  /// Carries along nothing but the rates of leaving the block.
  PHASIC_MPI_INLINE void leave(const Plan::Block& block) {
    const Real* exit = exit_;
    const Real* off = off_;
    for (int64_t v = 0; v < block.n; ++v) {
      const size_t p = at(block.first + v);
      Value rate = arrays_.shift[p];
      if (plan_.exit_weight()[p] >= 0) rate += *exit++;
      for (int64_t e = off_ptr_[p]; e < off_ptr_[p + 1]; ++e) rate += *off++;
      carried_[v] = {rate, Value{}};
    }
  }

  /// Right-hand sides of the block, with what comes from later blocks and from the step before.
  PHASIC_MPI_INLINE void enter(const Plan::Block& block, size_t right, int64_t step) {
    Value* const x = solution(right, step);
    const int32_t* col = off_col_ + off_ptr_[block.first];
    const Real* off = off_;
    for (int64_t p = block.first; p < block.first + block.n; ++p) {
      Value sum = arrays_.right[right].rhs[at(step * n_ + p)];
      if (step > 0) sum += coupled(right, step - 1, step - 1, p);
      const int64_t n_off = off_ptr_[p + 1] - off_ptr_[p];
      for (int64_t e = 0; e < n_off; ++e) sum += x[*col++] * *off++;
      x[p] = sum;
    }
  }

  /// What the solution of another step adds to a right-hand side.
  PHASIC_MPI_INLINE Value coupled(size_t right, int64_t multiplier, int64_t step, int64_t p) {
    return arrays_.right[right].multiplier[at(multiplier * n_ + p)] * solution(right, step)[p];
  }

  /// Factors, and begins to solve for `x`.
  template <bool fused>
  PHASIC_MPI_INLINE void factor(const Plan::Block& block, Value* x) {
    factor_.template factor<fused>(block, edge_, carried_, x, pivots_, crew_,
                                   [&] { fetch_some(); });
  }

  PHASIC_MPI_INLINE void solve_block_transposed(const Plan::Block& block, size_t right,
                                                int64_t step) {
    Value* const all = solution(right, step);
    Value* const x = all + block.first;
    if (step + 1 < n_steps_) {
      for (int64_t v = 0; v < block.n; ++v) {
        x[v] += coupled(right, step, step + 1, block.first + v);
      }
    }
    factor_.transposed(block, x);
    const int32_t* col = off_col_ + off_ptr_[block.first];
    const Real* off = off_;
    for (int64_t v = 0; v < block.n; ++v) {
      const size_t p = at(block.first + v);
      for (int64_t e = off_ptr_[p]; e < off_ptr_[p + 1]; ++e) {
        all[*col++] += x[v] * *off++;
      }
    }
  }

  static constexpr int64_t kLine = 8;  // weights

  const Plan& plan_;
  const Plan::Way& way_;
  const int64_t* off_ptr_;
  const int32_t* off_col_;
  int64_t n_steps_;
  int64_t n_;
  const Arrays& arrays_;
  Crew& crew_;  // helps with large blocks
  WorkspacePool::Memory memory_;
  Pivots<T, n> pivots_;
  BlockFactor<T, n> factor_;
  // Weights of the block at hand, and where those of several theta are put side by side.
  const Real* edge_ = nullptr;
  const Real* off_ = nullptr;
  const Real* exit_ = nullptr;
  Real* edge_lanes_ = nullptr;
  Real* off_lanes_ = nullptr;
  Real* exit_lanes_ = nullptr;
  int64_t fetched_ = 0;
  int64_t fetched_end_ = 0;
  Carried<T, n>* carried_ = nullptr;
  Value* scratch_ = nullptr;
  Value* x_ = nullptr;
};

}  // namespace phasic_mpi
