#include "cut.hpp"

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>

#include "dissection.hpp"
#include "order.hpp"
#include "prediction.hpp"
#include "symmetric_pattern.hpp"
#include "tarjan.hpp"
#include "task_pool.hpp"

namespace phasic_mpi {
namespace {

constexpr int32_t kNone = -1;
constexpr size_t kSliceVertices = 48;
constexpr int64_t kSomeProducts = 300;   // per edge, counted both ways: cutting is tried
constexpr int64_t kManyProducts = 1000;  // likewise: it is not compared in large blocks
constexpr int32_t kLargeVertices = 5000;
// Entries of L and U per edge of all parts, from which making parts is little beside recording.
constexpr int64_t kEntriesPerEdge = 4;

size_t at(int32_t index) { return static_cast<size_t>(index); }
size_t at(int64_t index) { return static_cast<size_t>(index); }

using Edge = std::pair<int32_t, int32_t>;

/// Sorts edges and drops repetitions.
void make_distinct(std::vector<Edge>& edges) {
  std::sort(edges.begin(), edges.end());
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
}

Csr to_csr(int32_t n, const std::vector<Edge>& sorted) {
  Csr csr{std::vector<int64_t>(at(n) + 1, 0), {}};
  csr.col.reserve(sorted.size());
  for (const auto& [source, target] : sorted) {
    ++csr.ptr[at(source) + 1];
    csr.col.push_back(target);
  }
  std::partial_sum(csr.ptr.begin(), csr.ptr.end(), csr.ptr.begin());
  return csr;
}

/// Sets of vertices in the order in which they are eliminated, each with the next one above it.
struct Pieces {
  std::vector<std::vector<int32_t>> vertices;
  std::vector<int32_t> above;

  /// Adds `vertices` in chained slices of nearly equal size; returns the first and the last.
  std::pair<int32_t, int32_t> add(std::span<const int32_t> all, size_t most) {
    const auto first = static_cast<int32_t>(above.size());
    const size_t n_slices = (all.size() + most - 1) / most;
    for (size_t slice = 0; slice < n_slices; ++slice) {
      const size_t begin = all.size() * slice / n_slices;
      const size_t end = all.size() * (slice + 1) / n_slices;
      vertices.emplace_back(all.begin() + static_cast<std::ptrdiff_t>(begin),
                            all.begin() + static_cast<std::ptrdiff_t>(end));
      above.push_back(first + static_cast<int32_t>(slice) + 1);
    }
    const auto last = static_cast<int32_t>(above.size()) - 1;
    if (n_slices > 0) above.back() = kNone;
    return {first, last};
  }
};

/// Pieces of a dissected block in postorder: leaves whole, separators in slices, dense ones last.
class Slicer {
 public:
  explicit Slicer(const PartTree& tree) : members_(tree.parent.size() + 1) {
    // The dense vertices are one more part, above all others.
    const auto dense = static_cast<int32_t>(tree.parent.size());
    for (size_t vertex = 0; vertex < tree.part_of.size(); ++vertex) {
      const int32_t part = tree.part_of[vertex];
      members_[at(part == PartTree::kNone ? dense : part)].push_back(static_cast<int32_t>(vertex));
    }
    children_.resize(members_.size());
    for (int32_t part = 0; part < dense; ++part) {
      const int32_t parent = tree.parent[at(part)];
      children_[at(parent == PartTree::kNone ? dense : parent)].push_back(part);
    }
    add_subtree(dense);
  }

  Pieces take() && { return std::move(pieces_); }

 private:
  /// Adds the pieces of a part after those of its children; the recursion is O(log n) deep.
  /// Returns the topmost pieces of the subtree, which have none above them yet.
  std::vector<int32_t> add_subtree(int32_t part) {
    std::vector<int32_t> tops;
    for (const int32_t child : children_[at(part)]) {
      const std::vector<int32_t> below = add_subtree(child);
      tops.insert(tops.end(), below.begin(), below.end());
    }
    const std::vector<int32_t>& own = members_[at(part)];
    if (own.empty()) return tops;
    const size_t most = children_[at(part)].empty() ? own.size() : kSliceVertices;
    const auto [first, last] = pieces_.add(own, most);
    for (const int32_t top : tops) pieces_.above[at(top)] = first;
    return {last};
  }

  std::vector<std::vector<int32_t>> members_;
  std::vector<std::vector<int32_t>> children_;
  Pieces pieces_;
};

/// What is eliminated up to a piece, as later pieces see it: strongly connected components without
/// cycles between them, numbered so that edges lead to later ones, and their edges to and from
/// vertices of the block that are not eliminated.
struct Front {
  int32_t n = 0;
  std::vector<Edge> inner;
  std::vector<Edge> out;  // component, vertex
  std::vector<Edge> in;   // vertex, component
};

/// Turns pieces into parts: each one once those below it are.
class Cutter {
 public:
  Cutter(const BlockView& block, const Pieces& pieces, const std::atomic<bool>& cancel,
         TaskPool& pool)
      : block_(block),
        pieces_(pieces),
        cancel_(cancel),
        pool_(pool),
        transpose_(transposed(block)),
        piece_of_(at(block.n())),
        front_(pieces.above.size()),
        below_(pieces.above.size()),
        n_waited_for_(pieces.above.size()),
        local_(pool.n_threads()) {
    for (size_t piece = 0; piece < pieces.above.size(); ++piece) {
      for (const int32_t vertex : pieces.vertices[piece]) {
        piece_of_[at(vertex)] = static_cast<int32_t>(piece);
      }
      const int32_t above = pieces.above[piece];
      if (above != kNone) below_[at(above)].push_back(static_cast<int32_t>(piece));
    }
  }

  Status run(std::vector<Part>& parts) {
    parts.clear();
    parts.resize(front_.size());
    parts_ = parts;
    for (size_t piece = front_.size(); piece-- > 0;) {
      n_waited_for_[piece] = std::ssize(below_[piece]);
      if (below_[piece].empty()) add(static_cast<int32_t>(piece));
    }
    return pool_.run();
  }

 private:
  void add(int32_t piece) {
    pool_.add([this, piece](size_t thread) { return make(piece, local_[thread]); });
  }

  Status make(int32_t piece, std::vector<int32_t>& local) {
    if (cancel_.load(std::memory_order_relaxed)) return Status::cancelled;
    local.resize(at(block_.n()));
    const Part& part = parts_[at(piece)] = make_part(piece, take_below(piece), local);
    const int32_t above = pieces_.above[at(piece)];
    if (above == kNone) return Status::ok;
    front_[at(piece)] = condense(part);
    if (--n_waited_for_[at(above)] == 0) add(above);
    return Status::ok;
  }

  static Csr transposed(const BlockView& block) {
    std::vector<Edge> edges;
    edges.reserve(block.col.size());
    for (int32_t row = 0; row < block.n(); ++row) {
      for (const int32_t target : targets(block, row)) edges.emplace_back(target, row);
    }
    // Rows come in ascending order: counting by target keeps it.
    Csr csr{std::vector<int64_t>(at(block.n()) + 1, 0), std::vector<int32_t>(edges.size())};
    for (const Edge& edge : edges) ++csr.ptr[at(edge.first) + 1];
    std::partial_sum(csr.ptr.begin(), csr.ptr.end(), csr.ptr.begin());
    std::vector<int64_t> next(csr.ptr.begin(), csr.ptr.end() - 1);
    for (const auto& [target, source] : edges) csr.col[at(next[at(target)]++)] = source;
    return csr;
  }

  static std::span<const int32_t> targets(const BlockView& block, int32_t row) {
    return {block.col.begin() + block.row_ptr[at(row)],
            block.col.begin() + block.row_ptr[at(row) + 1]};
  }

  [[nodiscard]] std::span<const int32_t> sources(int32_t row) const {
    return {transpose_.col.begin() + transpose_.ptr[at(row)],
            transpose_.col.begin() + transpose_.ptr[at(row) + 1]};
  }

  /// The fronts below a piece as one; they are let go of.
  Front take_below(int32_t piece) {
    Front below;
    for (const int32_t child : below_[at(piece)]) {
      const Front front = std::exchange(front_[at(child)], {});
      const int32_t shift = below.n;
      for (const auto& [from, to] : front.inner) below.inner.emplace_back(from + shift, to + shift);
      for (const auto& [from, to] : front.out) below.out.emplace_back(from + shift, to);
      for (const auto& [from, to] : front.in) below.in.emplace_back(from, to + shift);
      below.n += front.n;
    }
    return below;
  }

  /// Vertices above a piece that it meets, or what is below it.
  [[nodiscard]] std::vector<int32_t> boundary_of(int32_t piece, const Front& below) const {
    std::vector<int32_t> boundary;
    const auto add = [&](int32_t vertex) {
      if (piece_of_[at(vertex)] > piece) boundary.push_back(vertex);
    };
    for (const Edge& edge : below.out) add(edge.second);
    for (const Edge& edge : below.in) add(edge.first);
    for (const int32_t vertex : pieces_.vertices[at(piece)]) {
      std::ranges::for_each(targets(block_, vertex), add);
      std::ranges::for_each(sources(vertex), add);
    }
    std::sort(boundary.begin(), boundary.end());
    boundary.erase(std::unique(boundary.begin(), boundary.end()), boundary.end());
    return boundary;
  }

  /// `local` has room for all vertices of the block; what is in it does not matter.
  [[nodiscard]] Part make_part(int32_t piece, Front below, std::vector<int32_t>& local) const {
    const std::vector<int32_t>& own = pieces_.vertices[at(piece)];
    const std::vector<int32_t> boundary = boundary_of(piece, below);
    Part part;
    part.n_below = below.n;
    part.n_boundary = static_cast<int32_t>(boundary.size());
    part.vertex = own;
    part.vertex.insert(part.vertex.end(), boundary.begin(), boundary.end());
    int32_t next = part.n_below;
    for (const int32_t vertex : part.vertex) local[at(vertex)] = next++;

    std::vector<Edge> edges = std::move(below.inner);
    for (const auto& [from, to] : below.out) edges.emplace_back(from, local[at(to)]);
    for (const auto& [from, to] : below.in) edges.emplace_back(local[at(from)], to);
    for (const int32_t vertex : own) {
      for (const int32_t target : targets(block_, vertex)) {
        if (piece_of_[at(target)] < piece) continue;
        edges.emplace_back(local[at(vertex)], local[at(target)]);
      }
      for (const int32_t source : sources(vertex)) {
        if (piece_of_[at(source)] <= piece) continue;
        edges.emplace_back(local[at(source)], local[at(vertex)]);
      }
    }
    make_distinct(edges);
    Csr csr = to_csr(next, edges);
    part.row_ptr = std::move(csr.ptr);
    part.col = std::move(csr.col);
    return part;
  }

  /// What later pieces see of a part and of all below it.
  static Front condense(const Part& part) {
    const BlockView view = part.view();
    const int32_t n_inner = view.n() - view.n_boundary;
    const auto vertex_of = [&](int32_t local) { return part.vertex[at(local - view.n_below)]; };
    Csr inner{{0}, {}};
    for (int32_t row = 0; row < n_inner; ++row) {
      const std::span<const int32_t> all = targets(view, row);
      const auto end = std::lower_bound(all.begin(), all.end(), n_inner);
      inner.col.insert(inner.col.end(), all.begin(), end);
      inner.ptr.push_back(std::ssize(inner.col));
    }
    const StrongComponents components = strong_components(inner, Sinks::counted);
    const auto number = [&](int32_t row) { return components.count - 1 - components.of[at(row)]; };

    Front front{components.count, {}, {}, {}};
    for (int32_t row = 0; row < view.n(); ++row) {
      for (const int32_t target : targets(view, row)) {
        if (row >= n_inner) {
          front.in.emplace_back(vertex_of(row), number(target));
        } else if (target >= n_inner) {
          front.out.emplace_back(number(row), vertex_of(target));
        } else if (number(row) != number(target)) {
          front.inner.emplace_back(number(row), number(target));
        }
      }
    }
    make_distinct(front.inner);
    make_distinct(front.out);
    make_distinct(front.in);
    drop_dead_ends(front);
    return front;
  }

  /// Leaves out components that are on no way from a vertex that is left to another.
  static void drop_dead_ends(Front& front) {
    std::vector<char> entered(at(front.n), 0);
    std::vector<char> left(at(front.n), 0);
    for (const Edge& edge : front.in) entered[at(edge.second)] = 1;
    for (const Edge& edge : front.out) left[at(edge.first)] = 1;
    // Edges are sorted by source, and lead to later components.
    for (const auto& [from, to] : front.inner) entered[at(to)] |= entered[at(from)];
    for (auto edge = front.inner.rbegin(); edge != front.inner.rend(); ++edge) {
      left[at(edge->first)] |= left[at(edge->second)];
    }
    std::vector<int32_t> number(at(front.n), kNone);
    int32_t n_kept = 0;
    for (size_t component = 0; component < number.size(); ++component) {
      if (entered[component] != 0 && left[component] != 0) number[component] = n_kept++;
    }
    const auto name = [&](int32_t& component) { component = number[at(component)]; };
    for (Edge& edge : front.inner) name(edge.first), name(edge.second);
    for (Edge& edge : front.out) name(edge.first);
    for (Edge& edge : front.in) name(edge.second);
    const auto is_dead = [](const Edge& e) { return e.first == kNone || e.second == kNone; };
    std::erase_if(front.inner, is_dead);
    std::erase_if(front.out, is_dead);
    std::erase_if(front.in, is_dead);
    front.n = n_kept;
  }

  const BlockView& block_;
  const Pieces& pieces_;
  const std::atomic<bool>& cancel_;
  TaskPool& pool_;
  Csr transpose_;
  std::vector<int32_t> piece_of_;  // of each vertex
  std::vector<Front> front_;       // of each piece, until it is part of the next
  std::vector<std::vector<int32_t>> below_;
  std::vector<std::atomic<int64_t>> n_waited_for_;  // of those below each piece
  std::span<Part> parts_;
  std::vector<std::vector<int32_t>> local_;  // by thread: of each vertex of the part being made
};

Status cut_pattern(const BlockView& block, const SymmetricPattern& pattern, int32_t leaf_vertices,
                   const std::atomic<bool>& cancel, TaskPool& pool, std::vector<Part>& parts) {
  PartTree tree;
  const Status status = dissect(pattern, leaf_vertices, cancel, pool, tree);
  if (status != Status::ok) return status;
  const Pieces pieces = Slicer(tree).take();
  return Cutter(block, pieces, cancel, pool).run(parts);
}

/// The order in which the parts of a block are eliminated.
Status order_of_parts(const std::vector<Part>& parts, const std::atomic<bool>& cancel,
                      std::vector<int32_t>& order) {
  order.clear();
  std::vector<int32_t> local;
  for (const Part& part : parts) {
    const Status status = part_order(part.view(), cancel, local);
    if (status != Status::ok) return status;
    for (int32_t i = 0; i < part.view().n_own(); ++i) {
      order.push_back(part.vertex[at(local[at(i)])]);
    }
  }
  return Status::ok;
}

}  // namespace

Status cut(const BlockView& block, int32_t leaf_vertices, const std::atomic<bool>& cancel,
           size_t n_threads, std::vector<Part>& parts) {
  TaskPool pool(n_threads);
  return cut_pattern(block, symmetric_pattern(block), leaf_vertices, cancel, pool, parts);
}

Status cut_or_order(const BlockView& block, const std::atomic<bool>& cancel, size_t n_threads,
                    std::vector<Part>& parts, std::vector<int32_t>& order) {
  parts.clear();
  if (block.n() < kCutVertices) return whole_order(block, cancel, order);
  const SymmetricPattern pattern = symmetric_pattern(block);
  const int64_t n_pattern_edges = pattern.ptr.back();
  OrderCost cost;
  bool is_cheap = false;
  TaskPool pool(n_threads);
  pool.add([&](size_t) {
    const Status status = minimum_degree_order(block, pattern.clone(), cancel, order);
    if (status != Status::ok) return status;
    cost = predict_cost(pattern, order);
    is_cheap = cost.n_products < kSomeProducts * n_pattern_edges;
    return is_cheap ? Status::cancelled : Status::ok;
  });
  // One thread orders the block while others cut it already; alone, it cuts if it has to.
  Status status = n_threads > 1 ? Status::ok : pool.run();
  if (status == Status::ok) {
    status = cut_pattern(block, pattern, kPartVertices, cancel, pool, parts);
  }
  if (is_cheap) {
    parts.clear();
    return Status::ok;
  }
  if (status != Status::ok) return status;

  int64_t n_edges = 0;
  for (const Part& part : parts) n_edges += std::ssize(part.col);
  bool is_better = parts.size() > 1 && kEntriesPerEdge * n_edges <= cost.n_entries;
  const bool is_certain =
      block.n() >= kLargeVertices && cost.n_products >= kManyProducts * n_pattern_edges;
  if (is_better && !is_certain) {
    std::vector<int32_t> dissected;
    status = order_of_parts(parts, cancel, dissected);
    if (status != Status::ok) return status;
    is_better = predict_cost(pattern, dissected).n_products < cost.n_products;
  }
  (is_better ? order.clear() : parts.clear());
  return Status::ok;
}

Status elimination_order(const BlockView& block, const std::atomic<bool>& cancel,
                         std::vector<int32_t>& order) {
  std::vector<Part> parts;
  const Status status = cut_or_order(block, cancel, 1, parts, order);
  if (status != Status::ok || parts.empty()) return status;
  return order_of_parts(parts, cancel, order);
}

}  // namespace phasic_mpi
