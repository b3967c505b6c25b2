// Blocks with much fill: see PanelProgram.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "elimination.hpp"
#include "lanes.hpp"
#include "pivots.hpp"
#include "plan.hpp"
#include "workspace.hpp"

namespace phasic_mpi {

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

  template <bool fused>
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
        factor_panel<fused, 1>(program, at(panel.first), own, weight, row_, lower, pivots);
      } else {
        factor_panel<fused, kRows>(program, at(panel.first), own, weight, rows_, lower_rows,
                                   pivots);
      }
    }
    permute_back(program, x);
  }

  template <bool fused>
  PHASIC_MPI_INLINE void forward(const PanelProgram& program, Value* x) const {
    permute(program, x, x_);
    const PanelProgram::Group* groups = program.groups.data();
    const Panel<1>* lower = lower_;
    const Panel<kRows>* lower_rows = lower_rows_;
    for (const PanelProgram::Panel& panel : program.panels) {
      const std::span own(groups, at(panel.n_groups));
      groups += panel.n_groups;
      if (panel.n_rows == 1) {
        forward_panel<fused, 1>(at(panel.first), own, lower);
      } else {
        forward_panel<fused, kRows>(at(panel.first), own, lower_rows);
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

  /// The vertex of the first pivot that has no meaning, or -1.
  [[nodiscard]] int32_t first_illegal(const PanelProgram& program) const {
    for (size_t i = 0; i < program.order.size(); ++i) {
      if (!Pivots<T, n>::is_legal(inverse_[i])) return program.order[i];
    }
    return -1;
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
  template <bool fused, size_t rows>
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
        eliminate<fused, rows, kTogether<rows>>(program, k, row, escape, x, lower);
      }
      if (kTogether<rows> > 2 && left >= 2) {
        eliminate<fused, rows, 2>(program, k, row, escape, x, lower);
        left -= 2;
        k += 2;
      }
      if (left == 1) eliminate<fused, rows, 1>(program, k, row, escape, x, lower);
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
      eliminate<fused, rows, 1>(program, i, row, escape, x, lower);
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
  template <bool fused, size_t rows, size_t together>
  PHASIC_MPI_INLINE void eliminate(const PanelProgram& program, size_t k, Panel<rows>* row,
                                   Panel<rows>& escape, Panel<rows>& x, Panel<rows>*& lower) {
    std::array<Panel<rows>, together> multiplier;
    std::array<const Value*, together> upper;
    for (size_t j = 0; j < together; ++j) {
      multiplier[j] = row[k + j] * inverse_[k + j];
      row[k + j] = Panel<rows>{};
      *lower++ = multiplier[j];
      escape.template add<fused>(multiplier[j], escape_[k + j]);
      x.template add<fused>(multiplier[j], x_[k + j]);
      upper[j] = upper_ + program.upper_ptr[k + j];
      for (size_t later = j + 1; later < together; ++later) {
        row[k + later].template add<fused>(multiplier[j], *upper[j]++);
      }
    }
    const size_t last = k + together - 1;
    const int32_t* const col = program.upper_col.data() + program.upper_ptr[last];
    const int64_t count = program.upper_ptr[last + 1] - program.upper_ptr[last];
    for (int64_t c = 0; c < count; ++c) {
      Panel<rows> sum = row[col[c]];
      for (size_t j = 0; j < together; ++j) sum.template add<fused>(multiplier[j], upper[j][c]);
      row[col[c]] = sum;
    }
  }

  template <bool fused, size_t rows>
  PHASIC_MPI_INLINE void forward_panel(size_t first, std::span<const PanelProgram::Group> groups,
                                       const Panel<rows>*& lower) const {
    auto x = Panel<rows>::load(x_ + first);
    for (const PanelProgram::Group& group : groups) {
      for (int32_t k = group.first; k < group.first + group.n_rows; ++k) {
        x.template add<fused>(*lower++, x_[k]);
      }
    }
    for (size_t j = 0; j < rows; ++j) {
      x_[first + j] = x.get(j);
      if (j + 1 < rows) x.template add<fused>(*lower++, x_[first + j]);
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

}  // namespace phasic_mpi
