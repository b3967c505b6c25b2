#include "join.hpp"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "ascending_set.hpp"

namespace phasic_mpi {
namespace {

constexpr int32_t kNone = -1;

size_t at(int32_t index) { return static_cast<size_t>(index); }
size_t at(int64_t index) { return static_cast<size_t>(index); }

bool ascends_within(std::span<const int32_t> col, int32_t begin, int32_t end) {
  if (col.empty()) return true;
  return col.front() >= begin && col.back() < end &&
         std::adjacent_find(col.begin(), col.end(), std::greater_equal<>()) == col.end();
}

/// Whether sizes, pointers, order and columns are those of a part.
bool is_consistent(const RecordedPart& part) {
  const auto n = static_cast<int32_t>(part.vertex.size());
  if (part.n_own < 1 || part.n_own > n || part.order.size() != part.vertex.size() ||
      part.upper_ptr.size() != part.vertex.size() || part.row_ptr.size() != at(n) + 1 ||
      part.row_ptr.front() != 0 || part.row_ptr.back() != std::ssize(part.col)) {
    return false;
  }
  std::vector<char> seen(at(n), 0);
  for (int32_t i = 0; i < n; ++i) {
    const int32_t vertex = part.order[at(i)];
    const bool is_own = i < part.n_own;
    if (vertex < 0 || vertex >= n || (is_own ? vertex >= part.n_own : vertex != i)) return false;
    if (std::exchange(seen[at(vertex)], 1) != 0) return false;
    const int64_t begin = part.row_ptr[at(i)];
    const int64_t upper = part.upper_ptr[at(i)];
    const int64_t end = part.row_ptr[at(i) + 1];
    if (begin > upper || upper > end || end > std::ssize(part.col) || begin < 0) return false;
    const auto row = part.col.subspan(at(begin), at(end - begin));
    const auto [lower, higher] =
        std::pair(row.first(at(upper - begin)), row.subspan(at(upper - begin)));
    if (!ascends_within(lower, 0, std::min(i, part.n_own))) return false;
    if (!(is_own ? ascends_within(higher, i + 1, n) : higher.empty())) return false;
  }
  return true;
}

class Joiner {
 public:
  Joiner(const BlockView& block, std::span<const RecordedPart> parts, std::span<int32_t> col,
         LuPattern& out)
      : block_(block), parts_(parts), col_(col), out_(out), position_(at(block.n()), kNone) {}

  Status run() {
    if (!std::ranges::all_of(parts_, is_consistent) || !place_vertices()) return Status::bad_index;
    count_rows();
    if (out_.row_ptr.back() != std::ssize(col_)) return Status::bad_index;
    int32_t first = 0;
    for (const RecordedPart& part : parts_) {
      copy(part, first);
      first += part.n_own;
    }
    return Status::ok;
  }

 private:
  /// Each vertex is an own one once, and on boundaries only before that.
  bool place_vertices() {
    out_.order.clear();
    for (const RecordedPart& part : parts_) {
      for (int32_t i = 0; i < part.n_own; ++i) {
        const int32_t vertex = part.vertex[at(part.order[at(i)])];
        if (vertex < 0 || vertex >= block_.n() || position_[at(vertex)] != kNone) return false;
        position_[at(vertex)] = static_cast<int32_t>(out_.order.size());
        out_.order.push_back(vertex);
      }
      std::vector<int32_t> boundary(part.vertex.begin() + part.n_own, part.vertex.end());
      std::sort(boundary.begin(), boundary.end());
      if (std::ranges::adjacent_find(boundary) != boundary.end()) return false;
      for (const int32_t vertex : boundary) {
        if (vertex < 0 || vertex >= block_.n() || position_[at(vertex)] != kNone) return false;
      }
    }
    return std::ssize(out_.order) == block_.n();
  }

  void count_rows() {
    out_.row_ptr.assign(at(block_.n()) + 1, 0);
    for (const RecordedPart& part : parts_) {
      for (size_t i = 0; i < part.vertex.size(); ++i) {
        const int32_t vertex = part.vertex[at(part.order[i])];
        out_.row_ptr[at(position_[at(vertex)]) + 1] += part.row_ptr[i + 1] - part.row_ptr[i];
      }
    }
    std::partial_sum(out_.row_ptr.begin(), out_.row_ptr.end(), out_.row_ptr.begin());
    out_.upper_ptr.resize(at(block_.n()));
    next_.assign(out_.row_ptr.begin(), out_.row_ptr.end() - 1);
  }

  /// Appends the rows of a part, whose first own vertex is the `first` of the block.
  void copy(const RecordedPart& part, int32_t first) {
    rank_boundary(part);
    const auto append_own = [&](int64_t& next, std::span<const int32_t> col) {
      for (const int32_t own : col) col_[at(next++)] = first + own;
    };
    for (size_t i = 0; i < part.vertex.size(); ++i) {
      const int32_t row = position_[at(part.vertex[at(part.order[i])])];
      int64_t& next = next_[at(row)];
      const auto entries = [&](int64_t begin, int64_t end) {
        return part.col.subspan(at(begin), at(end - begin));
      };
      append_own(next, entries(part.row_ptr[i], part.upper_ptr[i]));
      if (i >= at(part.n_own)) continue;
      out_.upper_ptr[at(row)] = next;
      const auto upper = entries(part.upper_ptr[i], part.row_ptr[i + 1]);
      const auto outer = std::lower_bound(upper.begin(), upper.end(), part.n_own);
      append_own(next, {upper.begin(), outer});
      append_boundary(part.n_own, next, {outer, upper.end()});
    }
  }

  /// The positions of a part's boundary, ascending, and the rank of each vertex among them.
  void rank_boundary(const RecordedPart& part) {
    const std::span<const int32_t> boundary = part.vertex.subspan(at(part.n_own));
    std::vector<int32_t> by_position(boundary.size());
    std::iota(by_position.begin(), by_position.end(), 0);
    std::ranges::sort(by_position, {}, [&](int32_t b) { return position_[at(boundary[at(b)])]; });
    rank_.resize(boundary.size());
    ranked_.resize(boundary.size());
    for (size_t rank = 0; rank < by_position.size(); ++rank) {
      rank_[at(by_position[rank])] = static_cast<int32_t>(rank);
      ranked_[rank] = position_[at(boundary[at(by_position[rank])])];
    }
    if (ranked_.size() > set_size_) {
      set_size_ = 2 * ranked_.size();
      ranks_ = AscendingSet(static_cast<int32_t>(set_size_));
    }
  }

  void append_boundary(int32_t n_own, int64_t& next, std::span<const int32_t> col) {
    const auto to = col_.begin() + next;
    next += std::ssize(col);
    if (col.size() == ranked_.size()) {
      std::copy(ranked_.begin(), ranked_.end(), to);
      return;
    }
    for (const int32_t entry : col) ranks_.insert(rank_[at(entry - n_own)]);
    found_.clear();
    ranks_.drain(0, found_);
    std::ranges::transform(found_, to, [&](int32_t rank) { return ranked_[at(rank)]; });
  }

  const BlockView& block_;
  std::span<const RecordedPart> parts_;
  std::span<int32_t> col_;
  LuPattern& out_;
  std::vector<int32_t> position_;  // of each vertex of the block
  std::vector<int64_t> next_;      // of each row: where the next entry goes
  std::vector<int32_t> rank_;
  std::vector<int32_t> ranked_;
  std::vector<int32_t> found_;
  size_t set_size_ = 0;
  AscendingSet ranks_{0};
};

/// Whether the row of each edge has its column.
bool has_edges(const BlockView& block, std::span<const int32_t> col, const LuPattern& pattern) {
  std::vector<int32_t> position(at(block.n()));
  for (int32_t i = 0; i < block.n(); ++i) position[at(pattern.order[at(i)])] = i;
  for (int32_t row = 0; row < block.n(); ++row) {
    for (int64_t edge = block.row_ptr[at(row)]; edge < block.row_ptr[at(row) + 1]; ++edge) {
      const int64_t slot = pattern.edge_slot[at(edge)];
      if (slot >= pattern.row_ptr[at(position[at(row)]) + 1]) return false;
      if (col[at(slot)] != position[at(block.col[at(edge)])]) return false;
    }
  }
  return true;
}

}  // namespace

size_t count_entries(std::span<const RecordedPart> parts) {
  return std::transform_reduce(parts.begin(), parts.end(), size_t{0}, std::plus<>(),
                               [](const RecordedPart& part) { return part.col.size(); });
}

Status join(const BlockView& block, std::span<const RecordedPart> parts, std::span<int32_t> col,
            LuPattern& pattern) {
  const Status status = Joiner(block, parts, col, pattern).run();
  if (status != Status::ok) return status;
  locate_edges(block, col, pattern);
  return has_edges(block, col, pattern) ? Status::ok : Status::bad_index;
}

}  // namespace phasic_mpi
