// Local improvement of vertex separators.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace phasic_mpi {

/// Undirected graph without loops, as CSR: every edge stands in the lists of both its ends.
struct WeightedGraph {
  std::vector<int64_t> ptr;          // n + 1
  std::vector<int32_t> neighbour;    // ptr[n], or more that mean nothing
  std::vector<int32_t> edge_weight;  // likewise
  std::vector<int32_t> weight;       // n; their sum is an int32_t

  [[nodiscard]] int32_t n() const { return static_cast<int32_t>(weight.size()); }
  [[nodiscard]] std::span<const int32_t> neighbours(int32_t vertex) const {
    const auto row = static_cast<size_t>(vertex);
    return {neighbour.data() + ptr[row], neighbour.data() + ptr[row + 1]};
  }
};

/// A vertex is on side 0, on side 1, or in the separator: no edge joins the sides.
inline constexpr uint8_t kSeparator = 2;

/// Weights of side 0, side 1 and the separator.
using SideWeights = std::array<int64_t, 3>;

/// Whether separator `a` is better than `b`: sides of at most `most` first, then a light separator,
/// then even sides.
bool is_better(const SideWeights& a, const SideWeights& b, int64_t most);

/// Moves vertices of a separator to a side, which draws their neighbours on the other side into it:
/// Fiduccia and Mattheyses (1982) for vertices, as in METIS (Karypis and Kumar 1998). Work grows
/// with the neighbourhood of the separator. Keeps its memory from call to call.
class SeparatorRefiner {
 public:
  /// `side` separates, before and after. It is left no worse in the sense of `is_better`.
  void refine(const WeightedGraph& graph, int64_t most, int32_t n_passes,
              std::vector<uint8_t>& side);

  /// Weights of the sides as the last call left them.
  [[nodiscard]] const SideWeights& weights() const { return total_; }

 private:
  /// A vertex that left the separator, and where those that it drew in start in drawn_.
  struct Move {
    int32_t vertex;
    uint8_t to;
    size_t first_drawn;
  };

  void start(const WeightedGraph& graph, std::vector<uint8_t>& side);
  bool pass();
  bool choose(int32_t& vertex, uint8_t& to);
  bool settle_top(uint8_t to);
  [[nodiscard]] int32_t top(uint8_t to) const;
  void push(uint8_t to, int32_t vertex);
  [[nodiscard]] int32_t gain(uint8_t to, int32_t vertex) const;
  void move(int32_t vertex, uint8_t to);
  void draw_in(int32_t vertex, uint8_t from);
  void take_back(const Move& done);
  void change_side(int32_t vertex, uint8_t to);
  void add_to_reach(int32_t vertex, uint8_t of, int32_t weight);
  void measure(int32_t vertex);

  const WeightedGraph* graph_ = nullptr;
  std::vector<uint8_t>* side_ = nullptr;
  int64_t most_ = 0;
  SideWeights total_{};
  std::vector<int32_t> separator_;
  std::vector<int32_t> place_;                  // of the separator's vertices in separator_
  std::vector<std::array<int32_t, 2>> reach_;   // and the weight of their neighbours per side
  std::vector<uint8_t> moved_;                  // in this pass
  std::array<std::vector<int64_t>, 2> heap_{};  // gain and vertex per side, some out of date
  std::vector<Move> moves_;
  std::vector<int32_t> drawn_;
};

}  // namespace phasic_mpi
