// Blocks with little fill: see SparseProgram.
#pragma once

#include <cstddef>
#include <cstdint>

#include "elimination.hpp"
#include "lanes.hpp"
#include "pivots.hpp"
#include "plan.hpp"
#include "workspace.hpp"

namespace phasic_mpi {

/// M = (I - L)(S - U) for a block that follows a SparseProgram, and solves with it. What belongs to
/// vertices is numbered as in the block.
template <class T, size_t n>
class SparseFactor {
  using Real = typename Lanes<T, n>::Real;
  using Value = typename Lanes<T, n>::Value;

 public:
  void place(Workspace& workspace, const Plan::Sizes& sizes) {
    entry_ = workspace.take<Value>(sizes.sparse_entries);
    inverse_ = workspace.take<Value>(sizes.sparse_entries == 0 ? 0 : sizes.vertices);
  }

  /// Before the weights of all edges are put in their places.
  PHASIC_MPI_INLINE void clear(const SparseProgram& program) {
    for (int32_t i = 0; i < SparseProgram::kMore; ++i) entry_[program.n_entries + i] = Value{};
    for (const int32_t place : program.fill_entry) entry_[place] = Value{};
  }
  PHASIC_MPI_INLINE void put(const SparseProgram& program, size_t edge, const Real& weight) {
    Value entry{};
    entry += weight;
    entry_[program.edge_entry[edge]] = entry;
  }

  /// Factors, and solves (I - L) x = carried x.
  template <bool fused, class Fetch>
  PHASIC_MPI_INLINE void factor(const SparseProgram& program, Carried<T, n>* carried, Value* x,
                                Pivots<T, n>& pivots, const Fetch& fetch) {
    Value* const entry = entry_;
    const SparseProgram::Both* both = program.both.data();
    const SparseProgram::Alone* alone = program.alone.data();
    const int32_t* target = program.target.data();
    for (const SparseProgram::Step& step : program.steps) {
      fetch();
      const Carried<T, n> own = carried[step.vertex];
      const Value* const upper = entry + step.upper;
      x[step.vertex] = own.x;
      Value sum = own.escape;
      for (int32_t c = 0; c < step.n_upper; ++c) sum += upper[c];
      const Pivot pivot{pivots.invert(sum), own};
      inverse_[step.vertex] = pivot.inverse;
      if (step.n_both > 0) {
        const SparseProgram::Step& step_before = *(&step - 1);
        const Pivot before{inverse_[step_before.vertex], carried[step_before.vertex]};
        // Its row of U begins with the column of this pivot.
        const Value* const upper_before = entry + step_before.upper;
        const Value between = *upper_before;
        for (int32_t r = 0; r < step.n_both; ++r, ++both) {
          const Value first = meet<fused>(before, entry[both->before], carried[both->vertex]);
          add_product<fused>(entry[both->entry], first, between);
          const Value second = meet<fused>(pivot, entry[both->entry], carried[both->vertex]);
          for (int32_t c = 0; c < step.n_updates; ++c) {
            Value updated = entry[*target];
            add_product<fused>(updated, first, upper_before[c + 1]);
            add_product<fused>(updated, second, upper[c]);
            entry[*target++] = updated;
          }
        }
      }
      for (int32_t r = 0; r < step.n_alone; ++r, ++alone) {
        const Value multiplier = meet<fused>(pivot, entry[alone->entry], carried[alone->vertex]);
        for (int32_t c = 0; c < step.n_updates; ++c) {
          add_product<fused>(entry[*target++], multiplier, upper[c]);
        }
      }
    }
  }

  template <bool fused>
  PHASIC_MPI_INLINE void forward(const SparseProgram& program, Value* x) const {
    const SparseProgram::Both* both = program.both.data();
    const SparseProgram::Alone* alone = program.alone.data();
    Value before{};
    for (const SparseProgram::Step& step : program.steps) {
      const Value own = x[step.vertex];
      for (int32_t r = 0; r < step.n_both; ++r, ++both) {
        add_product<fused>(x[both->vertex], entry_[both->before], before);
        add_product<fused>(x[both->vertex], entry_[both->entry], own);
      }
      for (int32_t r = 0; r < step.n_alone; ++r, ++alone) {
        add_product<fused>(x[alone->vertex], entry_[alone->entry], own);
      }
      before = own;
    }
  }

  /// x = (S - U)^-1 x.
  template <class Fetch>
  PHASIC_MPI_INLINE void backward(const SparseProgram& program, Value* x,
                                  const Fetch& fetch) const {
    const int32_t* upper_vertex = program.upper_vertex.data() + program.upper_vertex.size();
    for (size_t k = program.steps.size(); k-- > 0;) {
      const SparseProgram::Step& step = program.steps[k];
      const Value* const upper = entry_ + step.upper;
      upper_vertex -= step.n_upper;
      fetch();
      Value sum = x[step.vertex];
      // The first column is the last to be known.
      for (int32_t c = step.n_upper; c-- > 0;) sum += upper[c] * x[upper_vertex[c]];
      x[step.vertex] = sum * inverse_[step.vertex];
    }
  }

  /// The vertex of the first pivot that has no meaning, or -1.
  [[nodiscard]] int32_t first_illegal(const SparseProgram& program) const {
    for (const SparseProgram::Step& step : program.steps) {
      if (!Pivots<T, n>::is_legal(inverse_[step.vertex])) return step.vertex;
    }
    return -1;
  }

  /// x = M^-T x.
  PHASIC_MPI_INLINE void transposed(const SparseProgram& program, Value* x) const {
    const int32_t* upper_vertex = program.upper_vertex.data();
    for (const SparseProgram::Step& step : program.steps) {
      const Value own = x[step.vertex] * inverse_[step.vertex];
      x[step.vertex] = own;
      for (int32_t c = 0; c < step.n_upper; ++c) {
        x[*upper_vertex++] += entry_[step.upper + c] * own;
      }
    }
    const SparseProgram::Both* both = program.both.data() + program.both.size();
    const SparseProgram::Alone* alone = program.alone.data() + program.alone.size();
    for (size_t k = program.steps.size(); k-- > 0;) {
      const SparseProgram::Step& step = program.steps[k];
      Value sum = x[step.vertex];
      for (int32_t r = 0; r < step.n_alone; ++r) {
        --alone;
        sum += entry_[alone->entry] * x[alone->vertex];
      }
      for (int32_t r = 0; r < step.n_both; ++r) {
        --both;
        sum += entry_[both->entry] * x[both->vertex];
        x[program.steps[k - 1].vertex] += entry_[both->before] * x[both->vertex];
      }
      x[step.vertex] = sum;
    }
  }

 private:
  struct Pivot {
    Value inverse;
    Carried<T, n> carried;
  };

  /// The jump from a row to a pivot becomes a multiplier, by which all that the pivot's row carries
  /// along is added to what the row carries.
  template <bool fused>
  PHASIC_MPI_INLINE static Value meet(const Pivot& pivot, Value& entry, Carried<T, n>& carried) {
    const Value multiplier = entry * pivot.inverse;
    entry = multiplier;
    add_product<fused>(carried.escape, multiplier, pivot.carried.escape);
    add_product<fused>(carried.x, multiplier, pivot.carried.x);
    return multiplier;
  }

  Value* entry_ = nullptr;
  Value* inverse_ = nullptr;
};

}  // namespace phasic_mpi
