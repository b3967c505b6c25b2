// Blocks with much fill, for one theta: dense panels instead of single entries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "elimination.hpp"
#include "grouped.hpp"

namespace phasic_mpi {

/// Consecutive pivots with much the same pattern, as one dense panel; what a panel lacks is an
/// explicit 0. Everything is numbered by elimination.
///
/// The values of a panel are first the rows of U, each followed by the rate of leaving the block
/// and by what else is carried along, then the columns of L. Both begin with the pivots of the
/// panel, dense, and go on with the later vertices that any of them has.
struct SupernodeProgram {
  explicit SupernodeProgram(const PatternView& pattern);

  // Pivots per panel: as many rows of U as stay in the second cache, with their multipliers.
  static constexpr int32_t kMostPivots = 192;
  static constexpr int32_t kCarried = 2;  // columns behind U: rates of leaving, right-hand side
  static constexpr int32_t kLine = 8;     // rows begin on cache lines
  static constexpr int32_t kBehind = 16;  // numbers behind the last row, which products may read
  // Products from which several threads are worth waking: about a millisecond.
#ifdef PHASIC_MPI_SHARED_PRODUCTS
  static constexpr int64_t kShared = PHASIC_MPI_SHARED_PRODUCTS;
#else
  static constexpr int64_t kShared = 20'000'000;
#endif

  /// Rows of U, or columns of L.
  struct Half {
    int64_t later;  // its first later vertex among those of all panels
    int32_t n_later;
    int32_t stride;  // of its values, from row to row
  };
  struct Panel {
    int32_t first;
    int32_t width;
    Half upper;
    Half lower;
    int64_t values;
    int64_t edges;    // its first edge; the next panel has those after its last
    int64_t updates;  // and its first update
    [[nodiscard]] int32_t end() const { return first + width; }
    [[nodiscard]] int64_t n_values() const {
      return int64_t{width} * (upper.stride + lower.stride) + kBehind;
    }
  };
  /// Places begin..end - 1 among the later vertices of a half are pivots of a panel.
  struct Reach {
    int32_t begin;
    int32_t end;
  };
  /// What an earlier panel, which has pivots of this one in U or in L, adds to it.
  struct Update {
    int32_t panel;
    Reach upper;
    Reach lower;
  };
  struct Edge {
    int32_t weight;
    int32_t place;  // from the first value of its panel
  };

  /// About nanoseconds for one theta.
  [[nodiscard]] double cost() const;
  /// Whether threads factor the block together.
  [[nodiscard]] bool is_shared() const { return n_products >= kShared; }

  std::vector<int32_t> order;
  std::vector<Panel> panels;      // and one more behind the last
  std::vector<int32_t> later;     // ascending in each half
  std::vector<Edge> edges;        // panel after panel
  std::vector<Update> updates;    // panel after panel, from panels in ascending order
  std::vector<int32_t> panel_of;  // each pivot
  int64_t n_values = 0;
  int64_t n_products = 0;  // explicit zeros included

  // Panels in units that one thread eliminates, ascending in each: subtrees of the elimination
  // tree, then one by one what is above them. A unit only waits for panels of units before it.
  std::vector<int32_t> unit_panels;
  std::vector<int32_t> unit_ptr;

 private:
  struct Side;  // all rows of U, or all columns of L, while panels are made
  struct Ends {
    int32_t weight;
    int32_t row;
    int32_t column;
    [[nodiscard]] bool is_upper() const { return row < column; }
    [[nodiscard]] int32_t pivot() const { return is_upper() ? row : column; }
    [[nodiscard]] int32_t vertex() const { return is_upper() ? column : row; }
  };

  [[nodiscard]] Grouped<Ends> ends_by_panel(const PatternView& pattern) const;
  [[nodiscard]] std::vector<int64_t> add_panels(const Grouped<Ends>& ends);
  void add_half(size_t index, Side& side, std::span<const Ends> ends, std::span<const Update> own);
  void add_updates(size_t index, std::vector<std::vector<Update>>& pending) const;
  [[nodiscard]] int64_t count_products(size_t index, std::span<const Update> own) const;
  void add_units(std::span<const int32_t> parent, std::span<const int64_t> work);
  void add_edges(const Grouped<Ends>& ends);
};

}  // namespace phasic_mpi
