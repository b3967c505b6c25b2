// Elimination of a symmetric pattern, for orders only: which vertex next, and what it leaves.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "status.hpp"
#include "symmetric_pattern.hpp"

namespace phasic_mpi {

/// Vertices that are eliminated together form an element, named by one of them. It is a child of
/// the element that absorbs what it leaves behind.
struct AssemblyTree {
  static constexpr int32_t kNone = -1;
  std::vector<int32_t> elements;    // in order of elimination: children before their parents
  std::vector<int32_t> parent;      // n, of each element; kNone for roots
  std::vector<int32_t> element_of;  // n, of each vertex; kNone for those that are left
};

/// Variables filed by rank; of those with the least rank the first one filed comes out first.
class PivotQueue {
 public:
  PivotQueue(int32_t n, int32_t n_ranks) : list_(n_ranks, List{kNone, kNone}), link_(n) {}

  void insert(int32_t variable, int32_t rank);
  void remove(int32_t variable);
  int32_t take_least();

 private:
  static constexpr int32_t kNone = -1;
  struct List {
    int32_t first;
    int32_t last;
  };
  struct Link {
    int32_t next;
    int32_t previous;
    int32_t rank;
  };
  std::vector<List> list_;  // per rank
  std::vector<Link> link_;  // per variable
  int32_t least_ = 0;       // no variable has a smaller rank
};

/// What is left of a graph during elimination, in the memory of the pattern it starts from.
///
/// Eliminating a vertex makes a clique of its neighbours. The clique is kept as one list, an
/// *element*, under the number of that vertex. A *variable* is a vertex not eliminated, or several
/// that have become indistinguishable; its list names the elements it belongs to, then the
/// neighbours it has by edges that no element covers. An element within another is absorbed by it.
/// Lists as a whole never grow: a new element replaces at least as many entries.
class QuotientGraph {
 public:
  /// Vertices that are `first` come before others, unless it costs no fill that they do not; those
  /// that are `kept` are not eliminated.
  enum class Role : uint8_t { first, plain, kept };

  /// Sets dense vertices aside.
  explicit QuotientGraph(SymmetricPattern pattern);

  /// Sets none aside; `role` has an entry for each vertex.
  QuotientGraph(SymmetricPattern pattern, std::vector<Role> role);

  Status eliminate_all(const std::atomic<bool>& cancel);
  [[nodiscard]] AssemblyTree assembly_tree() &&;

 private:
  QuotientGraph(SymmetricPattern pattern, std::vector<Role> role, int32_t n_queues);

  /// An element or a variable; 32 bytes, so that none straddles two cache lines.
  struct alignas(32) Node {
    int64_t start = 0;       // where its list starts in the pool
    int32_t length = 0;      // entries of its list, 0 once absorbed
    int32_t n_elements = 0;  // variable: leading entries of its list that are elements
    int32_t weight = 1;      // vertices in it; 0 absorbed, negative in the open element
    int32_t degree = 0;      // variable: bound on its neighbours; element: vertices it leaves
    int32_t parent = -1;     // what absorbed it
    uint32_t mark = 1;       // compared with stamp_; 0 for absorbed elements
  };
  /// A variable that may be indistinguishable from others in its chain.
  struct Candidate {
    int32_t variable;
    int32_t next;
    uint32_t hash;  // of its list
  };

  void set_dense_aside();
  void enqueue_all();
  [[nodiscard]] bool is_kept(int32_t variable) const {
    return !role_.empty() && role_[variable] == Role::kept;
  }
  void open_element(int32_t pivot);
  void gather(int32_t variable);
  void measure_overlaps();
  void update(int32_t variable);
  int64_t update_elements(const Node& node, int64_t& out, uint32_t& hash);
  int64_t update_neighbours(const Node& node, int64_t& out, uint32_t& hash);
  void merge_indistinguishable();
  void merge_into(Candidate& candidate);
  [[nodiscard]] bool are_comparable(const Candidate& a, const Candidate& b) const;
  [[nodiscard]] bool has_marked_list(const Node& node) const;
  void close_element();
  void requeue(int32_t variable);
  void enqueue(int32_t variable, uint64_t fill);

  void absorb(int32_t index, int32_t parent);
  void compact_pool();
  void advance_stamp(int32_t span);

  int32_t n_;
  int32_t n_left_;                   // vertices neither eliminated nor set aside
  int32_t n_pending_;                // of these, those to be eliminated
  std::unique_ptr<int32_t[]> pool_;  // all lists; free from pool_end_ to capacity_
  int64_t pool_end_;
  int64_t capacity_;
  std::vector<Node> node_;
  std::vector<Role> role_;  // per variable, or empty
  PivotQueue queue_;
  std::vector<int32_t> elements_;  // in order of elimination
  int32_t largest_ = 0;            // most vertices that an element leaves
  uint32_t stamp_ = 2;

  // The open element, being made: its list is pool_[first_ .. last_), of pivot_degree_ vertices.
  int32_t pivot_ = -1;
  int32_t pivot_degree_ = 0;
  int64_t first_ = 0;
  int64_t last_ = 0;
  std::vector<Candidate> candidates_;  // in the order of its list
  std::vector<int32_t> chain_head_;    // by hash: the latest candidate of each chain
};

}  // namespace phasic_mpi
