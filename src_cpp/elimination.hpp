// How the blocks of one pattern are eliminated: index lists made once, followed for every theta.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace phasic_mpi {

/// One pattern of a trace. Entries are counted from its first row, L and U of row after row.
struct PatternView {
  std::span<const int32_t> order;      // vertex at each step
  std::span<const int64_t> row_ptr;    // n + 1, from the start of all patterns
  std::span<const int64_t> upper_ptr;  // n
  const int32_t* col;                  // of all patterns
  std::span<const int64_t> edge_slot;  // ascending, one for each entry that is an edge
  int64_t first_slot;                  // of the first entry

  [[nodiscard]] size_t n() const { return order.size(); }
  [[nodiscard]] std::span<const int32_t> lower(size_t row) const {
    return {col + row_ptr[row], col + upper_ptr[row]};
  }
  [[nodiscard]] std::span<const int32_t> upper(size_t row) const {
    return {col + upper_ptr[row], col + row_ptr[row + 1]};
  }
  [[nodiscard]] int64_t n_entries() const { return row_ptr.back() - row_ptr.front(); }
};

/// Multiplications of the elimination, those that GTH leaves out included.
int64_t count_products(const PatternView& pattern);

/// For patterns with little fill. The entries lie in memory as in the pattern; once a pivot is
/// known, its row of U is added to all rows that have it, at places that are listed one by one. So
/// a vertex takes few loops, whose lengths a processor can guess. Pivots of a supernode go in
/// pairs: rows that have the first also have the second, and meet both at once. Rows that have only
/// the second have 0 for the first, if they are few.
struct SparseProgram {
  /// Throws std::invalid_argument if the pattern lacks entries that its elimination fills in.
  explicit SparseProgram(const PatternView& pattern);

  // Two entries more than the pattern has: jumps back are added up in one that nothing reads.
  static constexpr int32_t kUnread = 0;
  static constexpr int32_t kZero = 1;
  static constexpr int32_t kMore = 2;

  struct Step {
    int32_t vertex;
    int32_t upper;      // first entry of its row of U
    int32_t n_upper;    // entries of that row
    int32_t n_updates;  // of each row that meets it: as many, or 0 if all are jumps back
    int32_t n_both;     // rows that meet the pivot before it and this one,
    int32_t n_alone;    // or this one alone
  };
  struct Both {
    int32_t vertex;  // of the row
    int32_t before;  // its entries of L
    int32_t entry;
  };
  struct Alone {
    int32_t vertex;
    int32_t entry;
  };

  int32_t n_entries;
  std::vector<int32_t> edge_entry;    // of each edge
  std::vector<int32_t> fill_entry;    // the other entries
  std::vector<Step> steps;            // in elimination order
  std::vector<Both> both;             // step after step
  std::vector<Alone> alone;           // step after step
  std::vector<int32_t> target;        // of the updates
  std::vector<int32_t> upper_vertex;  // columns of U, step after step

 private:
  void add_step(const PatternView& pattern, size_t k, std::span<const int32_t> rows, bool second);
  void add_targets(const PatternView& pattern, int32_t row, std::span<const int32_t> columns);
};

/// For patterns with much fill. Rows are eliminated one by one or, where they have most of L in
/// common, four side by side: each entry of U that is read then serves four rows. Rows of a panel
/// that lack an entry of L have a multiplier of 0 there.
struct PanelProgram {
  static constexpr size_t kRows = 4;

  explicit PanelProgram(const PatternView& pattern);

  /// About nanoseconds for one theta, as far as its factor stays in the cache.
  static double cost(int64_t n_products, int64_t n_entries) {
    return 0.11 * static_cast<double>(n_products) + 1.5 * static_cast<double>(n_entries);
  }

  struct Panel {
    int32_t first;
    int32_t n_rows;  // 1 or kRows
    int32_t n_groups;
  };
  /// Rows of one supernode, to be eliminated from a panel together: they share the columns beyond
  /// the last of them.
  struct Group {
    int32_t first;
    int32_t n_rows;
  };

  std::vector<int32_t> order;
  std::vector<Panel> panels;
  std::vector<Group> groups;      // of the panels, one after another
  std::vector<int64_t> edge_ptr;  // edges of each row
  std::vector<int32_t> edge_col;
  std::vector<int64_t> upper_ptr;  // n + 1
  std::vector<int32_t> upper_col;
  std::vector<uint8_t> widens;  // whether a row has columns of U that the row before it lacks
  int64_t n_lower = 0;          // multipliers of single rows
  int64_t n_lower_rows = 0;     // and of panels, kRows each
};

}  // namespace phasic_mpi
