// Blocks with much fill, for one theta: see SupernodeProgram.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "crew.hpp"
#include "dense_products.hpp"
#include "pivots.hpp"
#include "supernodes.hpp"
#include "workspace.hpp"

namespace phasic_mpi {

/// M = (I - L)(S - U) for a block that follows a SupernodeProgram, and solves with it. Every number
/// takes its products in the order of elimination, as in the other ways, so all have the same bits.
/// Arguments are numbered as in the block.
class SupernodeFactor {
 public:
  void place(Workspace& workspace, size_t n_values, size_t n_vertices);

  /// Factors, and solves (I - L) x = carried x; large blocks with all of the crew. Results do not
  /// depend on who does what: a panel is written by one thread, in a fixed order.
  void factor(const SupernodeProgram& program, const double* weight,
              const Carried<double, 1>* carried, double* x, Pivots<double, 1>& pivots,
              Crew& crew) const;
  void forward(const SupernodeProgram& program, double* x) const;
  /// x = (S - U)^-1 x.
  void backward(const SupernodeProgram& program, double* x) const;
  /// The vertex of the first pivot that has no meaning, or -1.
  [[nodiscard]] int32_t first_illegal(const SupernodeProgram& program) const;
  /// x = M^-T x.
  void transposed(const SupernodeProgram& program, double* x) const;

 private:
  using Panel = SupernodeProgram::Panel;

  /// Pivots begin..end - 1 of a panel.
  struct Pivot {
    size_t begin;
    size_t end;
  };
  /// A factorisation on which threads work together.
  struct Run {
    const SupernodeProgram& program;
    const double* weight;
    const Carried<double, 1>* carried;
    double* x;
    std::vector<std::atomic<bool>> is_done;  // of each panel
    std::atomic<size_t> next_unit{0};
  };
  /// Memory of a thread.
  struct Scratch {
    explicit Scratch(size_t n)
        : upper_place(n),
          lower_place(n),
          room(std::make_unique_for_overwrite<double[]>(DenseProducts::kRoom)) {
      columns.reserve(n + SupernodeProgram::kCarried);
      rows.reserve(n);
    }

    std::vector<int32_t> upper_place;  // of each vertex in the panel at hand
    std::vector<int32_t> lower_place;
    std::vector<int32_t> columns;  // of the panel at hand, that an update goes to
    std::vector<int32_t> rows;
    std::unique_ptr<double[]> room;  // for products
    Pivots<double, 1> pivots;
  };

  [[nodiscard]] Poison<1> work(Run& run) const;
  void factor_panel(Run& run, size_t index, Scratch& scratch) const;
  void fill(const Run& run, size_t index) const;
  void update(const SupernodeProgram& program, const Panel& panel,
              const SupernodeProgram::Update& update, Scratch& scratch) const;
  void eliminate(const Panel& panel, Scratch& scratch) const;
  void meet(const Panel& panel, Pivot earlier, Pivot own, size_t first, double* room) const;
  void invert(const Panel& panel, size_t pivot, Pivots<double, 1>& pivots) const;

  template <bool fused, class Ready>
  void spread(const SupernodeProgram& program, SupernodeProgram::Half Panel::* half,
              const Ready& ready) const;
  template <class Ready>
  void collect(const SupernodeProgram& program, SupernodeProgram::Half Panel::* half,
               const Ready& ready) const;

  void permute(const SupernodeProgram& program, const double* x) const;
  void permute_back(const SupernodeProgram& program, double* x) const;

  [[nodiscard]] double* upper(const Panel& panel) const { return values_ + panel.values; }
  [[nodiscard]] double* lower(const Panel& panel) const {
    return upper(panel) + int64_t{panel.width} * panel.upper.stride;
  }

  [[nodiscard]] double* values_of(const Panel& panel, SupernodeProgram::Half Panel::* half) const {
    return half == &Panel::upper ? upper(panel) : lower(panel);
  }

  double* values_ = nullptr;
  double* inverse_ = nullptr;  // of the pivots
  double* x_ = nullptr;
};

}  // namespace phasic_mpi
