// Systems of several theta, one per lane: the work of one task of a batch.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "lanes.hpp"
#include "plan.hpp"

namespace phasic_mpi {

PHASIC_MPI_INLINE constexpr size_t at(int64_t index) { return static_cast<size_t>(index); }

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

/// What the elimination carries along beside a row: its rate of leaving the block, and its
/// right-hand side. So a solve begins while its matrix is factored.
template <class T, size_t n>
struct Carried {
  typename Lanes<T, n>::Value escape;
  typename Lanes<T, n>::Value x;
};

/// Remembers lanes whose weights or pivots have no meaning.
template <class T, size_t n>
struct Pivots {
  using Value = typename Lanes<T, n>::Value;

  // Smallest normal number: the reciprocal of anything smaller may overflow.
  static constexpr double kSmallest = std::numeric_limits<double>::min();

  PHASIC_MPI_INLINE Value invert(const Value& pivot) {
    poison.meet(Lanes<T, n>::magnitude(pivot) - kSmallest);
    return Lanes<T, n>::inverse(pivot);
  }

  Poison<n> poison;  // lanes that have no solution
};

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
    entry_[program.n_entries] = Value{};
    for (const int32_t place : program.fill_entry) entry_[place] = Value{};
  }
  PHASIC_MPI_INLINE void put(const SparseProgram& program, size_t edge, const Real& weight) {
    Value entry{};
    entry += weight;
    entry_[program.edge_entry[edge]] = entry;
  }

  /// Factors, and solves (I - L) x = carried x.
  template <class Fetch>
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
          const Value first = meet(before, entry[both->before], carried[both->vertex]);
          entry[both->entry] += first * between;
          const Value second = meet(pivot, entry[both->entry], carried[both->vertex]);
          for (int32_t c = 0; c < step.n_updates; ++c) {
            Value updated = entry[*target];
            updated += first * upper_before[c + 1];
            updated += second * upper[c];
            entry[*target++] = updated;
          }
        }
      }
      for (int32_t r = 0; r < step.n_alone; ++r, ++alone) {
        const Value multiplier = meet(pivot, entry[alone->entry], carried[alone->vertex]);
        for (int32_t c = 0; c < step.n_updates; ++c) entry[*target++] += multiplier * upper[c];
      }
    }
  }

  PHASIC_MPI_INLINE void forward(const SparseProgram& program, Value* x) const {
    const SparseProgram::Both* both = program.both.data();
    const SparseProgram::Alone* alone = program.alone.data();
    Value before{};
    for (const SparseProgram::Step& step : program.steps) {
      const Value own = x[step.vertex];
      for (int32_t r = 0; r < step.n_both; ++r, ++both) {
        x[both->vertex] += entry_[both->before] * before;
        x[both->vertex] += entry_[both->entry] * own;
      }
      for (int32_t r = 0; r < step.n_alone; ++r, ++alone) {
        x[alone->vertex] += entry_[alone->entry] * own;
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
  PHASIC_MPI_INLINE static Value meet(const Pivot& pivot, Value& entry, Carried<T, n>& carried) {
    const Value multiplier = entry * pivot.inverse;
    entry = multiplier;
    carried.escape += multiplier * pivot.carried.escape;
    carried.x += multiplier * pivot.carried.x;
    return multiplier;
  }

  Value* entry_ = nullptr;  // and one that is never read
  Value* inverse_ = nullptr;
};

/// The same for a block that follows a PanelProgram. What belongs to vertices is numbered by
/// elimination.
template <class T, size_t n>
class PanelFactor {
  using Real = typename Lanes<T, n>::Real;
  using Value = typename Lanes<T, n>::Value;
  static constexpr size_t kRows = PanelProgram::kRows;
  template <size_t rows>
  using Panel = Rows<T, n, rows>;

 public:
  void place(Workspace& workspace, const Plan::Sizes& sizes) {
    upper_ = workspace.take<Value>(sizes.panel_upper);
    lower_ = workspace.take<Panel<1>>(sizes.lower);
    lower_rows_ = workspace.take<Panel<kRows>>(sizes.lower_rows);
    row_ = workspace.take<Panel<1>>(sizes.panel_vertices);
    rows_ = workspace.take<Panel<kRows>>(sizes.panel_vertices);
    inverse_ = workspace.take<Value>(sizes.panel_vertices);
    escape_ = workspace.take<Value>(sizes.panel_vertices);
    x_ = workspace.take<Value>(sizes.panel_vertices);
  }

  void clear(const Plan::Sizes& sizes) {
    std::fill_n(row_, sizes.panel_vertices, Panel<1>{});
    std::fill_n(rows_, sizes.panel_vertices, Panel<kRows>{});
  }

  PHASIC_MPI_INLINE void factor(const PanelProgram& program, const Real* weight,
                                const Carried<T, n>* carried, Value* x, Pivots<T, n>& pivots) {
    for (size_t i = 0; i < program.order.size(); ++i) {
      escape_[i] = carried[program.order[i]].escape;
      x_[i] = carried[program.order[i]].x;
    }
    const PanelProgram::Group* groups = program.groups.data();
    Panel<1>* lower = lower_;
    Panel<kRows>* lower_rows = lower_rows_;
    for (const PanelProgram::Panel& panel : program.panels) {
      const std::span own(groups, at(panel.n_groups));
      groups += panel.n_groups;
      if (panel.n_rows == 1) {
        factor_panel<1>(program, at(panel.first), own, weight, row_, lower, pivots);
      } else {
        factor_panel<kRows>(program, at(panel.first), own, weight, rows_, lower_rows, pivots);
      }
    }
    permute_back(program, x);
  }

  PHASIC_MPI_INLINE void forward(const PanelProgram& program, Value* x) const {
    permute(program, x, x_);
    const PanelProgram::Group* groups = program.groups.data();
    const Panel<1>* lower = lower_;
    const Panel<kRows>* lower_rows = lower_rows_;
    for (const PanelProgram::Panel& panel : program.panels) {
      const std::span own(groups, at(panel.n_groups));
      groups += panel.n_groups;
      if (panel.n_rows == 1) {
        forward_panel<1>(at(panel.first), own, lower);
      } else {
        forward_panel<kRows>(at(panel.first), own, lower_rows);
      }
    }
    permute_back(program, x);
  }

  /// x = (S - U)^-1 x.
  PHASIC_MPI_INLINE void backward(const PanelProgram& program, Value* x) const {
    permute(program, x, x_);
    const int32_t* const col = program.upper_col.data();
    for (size_t i = program.order.size(); i-- > 0;) {
      Value sum = x_[i];
      // The first column is the last to be known.
      for (int64_t e = program.upper_ptr[i + 1]; e-- > program.upper_ptr[i];) {
        sum += upper_[e] * x_[col[e]];
      }
      x_[i] = sum * inverse_[i];
    }
    permute_back(program, x);
  }

  /// x = M^-T x.
  PHASIC_MPI_INLINE void transposed(const PanelProgram& program, Value* x) const {
    permute(program, x, x_);
    const int32_t* const col = program.upper_col.data();
    for (size_t i = 0; i < program.order.size(); ++i) {
      const Value own = x_[i] * inverse_[i];
      x_[i] = own;
      for (int64_t e = program.upper_ptr[i]; e < program.upper_ptr[i + 1]; ++e) {
        x_[col[e]] += upper_[e] * own;
      }
    }
    const PanelProgram::Group* groups = program.groups.data() + program.groups.size();
    const Panel<1>* lower = lower_ + program.n_lower;
    const Panel<kRows>* lower_rows = lower_rows_ + program.n_lower_rows;
    for (size_t p = program.panels.size(); p-- > 0;) {
      const PanelProgram::Panel& panel = program.panels[p];
      groups -= panel.n_groups;
      const std::span own(groups, at(panel.n_groups));
      if (panel.n_rows == 1) {
        transposed_panel<1>(at(panel.first), own, lower);
      } else {
        transposed_panel<kRows>(at(panel.first), own, lower_rows);
      }
    }
    permute_back(program, x);
  }

 private:
  PHASIC_MPI_INLINE static void permute(const PanelProgram& program, const Value* from, Value* to) {
    for (const int32_t vertex : program.order) *to++ = from[vertex];
  }
  PHASIC_MPI_INLINE void permute_back(const PanelProgram& program, Value* x) const {
    const Value* from = x_;
    for (const int32_t vertex : program.order) x[vertex] = *from++;
  }

  /// `row` is zero before and after.
  template <size_t rows>
  PHASIC_MPI_INLINE void factor_panel(const PanelProgram& program, size_t first,
                                      std::span<const PanelProgram::Group> groups,
                                      const Real* weight, Panel<rows>* row, Panel<rows>*& lower,
                                      Pivots<T, n>& pivots) {
    auto escape = Panel<rows>::load(escape_ + first);
    auto x = Panel<rows>::load(x_ + first);
    for (size_t j = 0; j < rows; ++j) {
      for (int64_t e = program.edge_ptr[first + j]; e < program.edge_ptr[first + j + 1]; ++e) {
        Value entry{};
        entry += weight[e];
        row[program.edge_col[at(e)]].set(j, entry);
      }
    }
    for (const PanelProgram::Group& group : groups) {
      size_t k = at(group.first);
      size_t left = at(group.n_rows);
      for (; left >= kTogether<rows>; left -= kTogether<rows>, k += kTogether<rows>) {
        eliminate<rows, kTogether<rows>>(program, k, row, escape, x, lower);
      }
      if (kTogether<rows> > 2 && left >= 2) {
        eliminate<rows, 2>(program, k, row, escape, x, lower);
        left -= 2;
        k += 2;
      }
      if (left == 1) eliminate<rows, 1>(program, k, row, escape, x, lower);
    }
    for (size_t j = 0; j < rows; ++j) {
      const size_t i = first + j;
      // What has been added up at the diagonal are jumps back: GTH leaves them out.
      Panel<rows>& diagonal = row[i];
      diagonal.set(j, Value{});
      escape_[i] = escape.get(j);
      x_[i] = x.get(j);
      Value pivot = escape_[i];
      for (int64_t e = program.upper_ptr[i]; e < program.upper_ptr[i + 1]; ++e) {
        const Value rate = row[program.upper_col[at(e)]].get(j);
        upper_[e] = rate;
        pivot += rate;
      }
      inverse_[i] = pivots.invert(pivot);
      if (j + 1 == rows) break;
      diagonal.keep_from(j + 1);
      eliminate<rows, 1>(program, i, row, escape, x, lower);
    }
    for (size_t j = 0; j < rows; ++j) {
      row[first + j] = Panel<rows>{};
      if (j > 0 && program.widens[first + j] == 0) continue;
      for (int64_t e = program.upper_ptr[first + j]; e < program.upper_ptr[first + j + 1]; ++e) {
        row[program.upper_col[at(e)]] = Panel<rows>{};
      }
    }
  }

  /// Jumps from the rows in `row` to vertices k..k + together - 1 go on along their rows of U,
  /// which share their columns beyond the last of them.
  template <size_t rows, size_t together>
  PHASIC_MPI_INLINE void eliminate(const PanelProgram& program, size_t k, Panel<rows>* row,
                                   Panel<rows>& escape, Panel<rows>& x, Panel<rows>*& lower) {
    std::array<Panel<rows>, together> multiplier;
    std::array<const Value*, together> upper;
    for (size_t j = 0; j < together; ++j) {
      multiplier[j] = row[k + j] * inverse_[k + j];
      row[k + j] = Panel<rows>{};
      *lower++ = multiplier[j];
      escape.add_product(multiplier[j], escape_[k + j]);
      x.add_product(multiplier[j], x_[k + j]);
      upper[j] = upper_ + program.upper_ptr[k + j];
      for (size_t later = j + 1; later < together; ++later) {
        row[k + later].add_product(multiplier[j], *upper[j]++);
      }
    }
    const size_t last = k + together - 1;
    const int32_t* const col = program.upper_col.data() + program.upper_ptr[last];
    const int64_t count = program.upper_ptr[last + 1] - program.upper_ptr[last];
    for (int64_t c = 0; c < count; ++c) {
      Panel<rows> sum = row[col[c]];
      for (size_t j = 0; j < together; ++j) sum.add_product(multiplier[j], upper[j][c]);
      row[col[c]] = sum;
    }
  }

  template <size_t rows>
  PHASIC_MPI_INLINE void forward_panel(size_t first, std::span<const PanelProgram::Group> groups,
                                       const Panel<rows>*& lower) const {
    auto x = Panel<rows>::load(x_ + first);
    for (const PanelProgram::Group& group : groups) {
      for (int32_t k = group.first; k < group.first + group.n_rows; ++k) {
        x.add_product(*lower++, x_[k]);
      }
    }
    for (size_t j = 0; j < rows; ++j) {
      x_[first + j] = x.get(j);
      if (j + 1 < rows) x.add_product(*lower++, x_[first + j]);
    }
  }

  template <size_t rows>
  PHASIC_MPI_INLINE void transposed_panel(size_t first, std::span<const PanelProgram::Group> groups,
                                          const Panel<rows>*& lower) const {
    for (size_t j = rows - 1; j-- > 0;) {
      --lower;
      for (size_t row = rows; row-- > j + 1;) {
        x_[first + j] += lower->get(row) * x_[first + row];
      }
    }
    for (size_t g = groups.size(); g-- > 0;) {
      for (int32_t k = groups[g].first + groups[g].n_rows; k-- > groups[g].first;) {
        --lower;
        for (size_t row = rows; row-- > 0;) x_[k] += lower->get(row) * x_[first + row];
      }
    }
  }

  // Multipliers of so many rows of U stay in registers: half of those that AVX2 has.
  static constexpr size_t kRegistersPerNumber =
      (n + kRegister - 1) / kRegister * sizeof(T) / sizeof(double);
  template <size_t rows>
  static constexpr size_t kRegistersPerPanel =
      n == 1 ? kRegistersPerNumber : rows * kRegistersPerNumber;
  template <size_t rows>
  static constexpr size_t kTogether =
      kRegistersPerPanel<rows> <= 2 ? 4 : (kRegistersPerPanel<rows> <= 4 ? 2 : 1);

  Value* upper_ = nullptr;
  Panel<1>* lower_ = nullptr;           // multipliers, panel after panel
  Panel<kRows>* lower_rows_ = nullptr;  // multipliers, panel after panel
  Panel<1>* row_ = nullptr;             // accumulators, zero between panels
  Panel<kRows>* rows_ = nullptr;
  Value* inverse_ = nullptr;  // of the pivots
  Value* escape_ = nullptr;   // the exit column
  Value* x_ = nullptr;
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

  Group(const Plan& plan, int64_t n_steps, const Arrays& arrays)
      : plan_(plan),
        way_(plan.way(n > 1)),
        trace_(plan.trace()),
        n_steps_(n_steps),
        n_(static_cast<int64_t>(plan.n_transient())),
        arrays_(arrays) {
    Workspace counter;
    place(counter);
    memory_ = plan_.workspaces().take(counter.n_lines());
    Workspace workspace(memory_.data());
    place(workspace);
    panels_.clear(way_.sizes);
  }
  ~Group() { plan_.workspaces().give_back(std::move(memory_)); }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

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
            factor(block, x);
          } else {
            enter(block, right, step);
            forward(block, x);
          }
          if (b > 0) fetch(way_.blocks[b - 1].off_weight, way_.blocks[b - 1].n_off);
          backward(block, x);
        }
      }
    }
    store();
  }

  PHASIC_MPI_INLINE void solve_transposed() {
    check_weights();
    load_right();
    for (const Plan::Block& block : way_.blocks) {
      load_weights(block);
      leave(block);
      factor(block, scratch_);  // which nothing reads
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
    sparse_.place(workspace, sizes);
    panels_.place(workspace, sizes);
  }

  [[nodiscard]] PHASIC_MPI_INLINE Value* solution(size_t right, int64_t step) {
    return x_ + (right * at(n_steps_) + at(step)) * at(n_);
  }

  /// Those of one theta are checked at once, those of several when they are loaded.
  PHASIC_MPI_INLINE void check_weights() {
    if constexpr (n == 1) pivots_.poison.meet(arrays_.weight[0], plan_.n_weights());
  }

  PHASIC_MPI_INLINE void load_weights(const Plan::Block& block) {
    if (block.sparse != nullptr) {
      sparse_.clear(*block.sparse);
      visit_weights(block.edge_weight, block.n_edges, [&](size_t edge, const Real& weight) {
        sparse_.put(*block.sparse, edge, weight);
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
    const int32_t* col = trace_.off_col.data() + trace_.off_ptr[at(block.first)];
    const Real* exit = exit_;
    const Real* off = off_;
    for (int64_t v = 0; v < block.n; ++v) {
      const size_t p = at(block.first + v);
      Value rate = arrays_.shift[p];
      Value x = rhs[p];
      if (plan_.exits()[p] != 0) rate += *exit++;
      const int64_t n_off = trace_.off_ptr[p + 1] - trace_.off_ptr[p];
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
      if (plan_.exits()[p] != 0) rate += *exit++;
      for (int64_t e = trace_.off_ptr[p]; e < trace_.off_ptr[p + 1]; ++e) rate += *off++;
      carried_[v] = {rate, Value{}};
    }
  }

  /// Right-hand sides of the block, with what comes from later blocks and from the step before.
  PHASIC_MPI_INLINE void enter(const Plan::Block& block, size_t right, int64_t step) {
    Value* const x = solution(right, step);
    const int32_t* col = trace_.off_col.data() + trace_.off_ptr[at(block.first)];
    const Real* off = off_;
    for (int64_t p = block.first; p < block.first + block.n; ++p) {
      Value sum = arrays_.right[right].rhs[at(step * n_ + p)];
      if (step > 0) sum += coupled(right, step - 1, step - 1, p);
      const int64_t n_off = trace_.off_ptr[at(p) + 1] - trace_.off_ptr[at(p)];
      for (int64_t e = 0; e < n_off; ++e) sum += x[*col++] * *off++;
      x[p] = sum;
    }
  }

  /// What the solution of another step adds to a right-hand side.
  PHASIC_MPI_INLINE Value coupled(size_t right, int64_t multiplier, int64_t step, int64_t p) {
    return arrays_.right[right].multiplier[at(multiplier * n_ + p)] * solution(right, step)[p];
  }

  /// Factors, and begins to solve for `x`.
  PHASIC_MPI_INLINE void factor(const Plan::Block& block, Value* x) {
    if (block.sparse != nullptr) {
      sparse_.factor(*block.sparse, carried_, x, pivots_, [&] { fetch_some(); });
    } else if (block.panels != nullptr) {
      panels_.factor(*block.panels, edge_, carried_, x, pivots_);
    } else {
      x[0] = carried_[0].x;
      carried_[0].escape = pivots_.invert(carried_[0].escape);
    }
  }

  PHASIC_MPI_INLINE void forward(const Plan::Block& block, Value* x) {
    if (block.sparse != nullptr) {
      sparse_.forward(*block.sparse, x);
    } else if (block.panels != nullptr) {
      panels_.forward(*block.panels, x);
    }
  }

  PHASIC_MPI_INLINE void backward(const Plan::Block& block, Value* x) {
    if (block.sparse != nullptr) {
      sparse_.backward(*block.sparse, x, [&] { fetch_some(); });
    } else if (block.panels != nullptr) {
      panels_.backward(*block.panels, x);
    } else {
      x[0] = x[0] * carried_[0].escape;
    }
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
    if (block.sparse != nullptr) {
      sparse_.transposed(*block.sparse, x);
    } else if (block.panels != nullptr) {
      panels_.transposed(*block.panels, x);
    } else {
      x[0] = x[0] * carried_[0].escape;
    }
    const int32_t* col = trace_.off_col.data() + trace_.off_ptr[at(block.first)];
    const Real* off = off_;
    for (int64_t v = 0; v < block.n; ++v) {
      const size_t p = at(block.first + v);
      for (int64_t e = trace_.off_ptr[p]; e < trace_.off_ptr[p + 1]; ++e) {
        all[*col++] += x[v] * *off++;
      }
    }
  }

  static constexpr int64_t kLine = 8;  // weights

  const Plan& plan_;
  const Plan::Way& way_;
  const TraceView& trace_;
  int64_t n_steps_;
  int64_t n_;
  const Arrays& arrays_;
  WorkspacePool::Memory memory_;
  Pivots<T, n> pivots_;
  SparseFactor<T, n> sparse_;
  PanelFactor<T, n> panels_;
  // Weights of the block at hand, and where those of several theta are put side by side.
  const Real* edge_ = nullptr;
  const Real* off_ = nullptr;
  const Real* exit_ = nullptr;
  Real* edge_lanes_ = nullptr;
  Real* off_lanes_ = nullptr;
  Real* exit_lanes_ = nullptr;
  int64_t fetched_ = 0;
  int64_t fetched_end_ = 0;
  Carried<T, n>* carried_ = nullptr;  // of a single vertex the inverse pivot later on
  Value* scratch_ = nullptr;
  Value* x_ = nullptr;
};

}  // namespace phasic_mpi
