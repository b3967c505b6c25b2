// The factor of one block, whichever way it is eliminated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "crew.hpp"
#include "lanes.hpp"
#include "panel_factor.hpp"
#include "pivots.hpp"
#include "plan.hpp"
#include "sparse_factor.hpp"
#include "supernode_factor.hpp"
#include "workspace.hpp"

namespace phasic_mpi {

/// M = (I - L)(S - U) for a block of a plan, and solves with it. What belongs to vertices is
/// numbered as in the block.
template <class T, size_t n>
class BlockFactor {
  using Real = typename Lanes<T, n>::Real;
  using Value = typename Lanes<T, n>::Value;
  static constexpr bool kHasSupernodes = n == 1 && std::is_same_v<T, double>;

 public:
  static constexpr Plan::Use kUse = n > 1            ? Plan::Use::many
                                    : kHasSupernodes ? Plan::Use::one
                                                     : Plan::Use::one_complex;

  /// In memory for the largest block that it is to hold. The inverse pivot of a block of one vertex
  /// goes to `single`.
  void place(Workspace& workspace, const Plan::Sizes& sizes, Value* single) {
    sparse_.place(workspace, sizes);
    panels_.place(workspace, sizes);
    if constexpr (kHasSupernodes) {
      supernodes_.place(workspace, sizes.supernode_values, sizes.supernode_vertices);
    }
    single_ = single;
  }

  /// Before the first block, once the memory is there.
  void clear(const Plan::Sizes& sizes) { panels_.clear(sizes); }

  /// Blocks with little fill have the weights of their edges put in their places; others read them
  /// when they are factored.
  PHASIC_MPI_INLINE static bool takes_edges(const Plan::Block& block) {
    return block.sparse != nullptr;
  }
  PHASIC_MPI_INLINE void begin_edges(const Plan::Block& block) { sparse_.clear(*block.sparse); }
  PHASIC_MPI_INLINE void put_edge(const Plan::Block& block, size_t edge, const Real& weight) {
    sparse_.put(*block.sparse, edge, weight);
  }

  /// Factors, and solves (I - L) x = carried x. Calls `fetch` now and then.
  template <bool fused, class Fetch>
  PHASIC_MPI_INLINE void factor(const Plan::Block& block, const Real* edge, Carried<T, n>* carried,
                                Value* x, Pivots<T, n>& pivots, Crew& crew, const Fetch& fetch) {
    if constexpr (kHasSupernodes) {
      if (block.supernodes != nullptr) {
        return supernodes_.factor(*block.supernodes, edge, carried, x, pivots, crew);
      }
    }
    if (block.sparse != nullptr) {
      sparse_.template factor<fused>(*block.sparse, carried, x, pivots, fetch);
    } else if (block.panels != nullptr) {
      panels_.template factor<fused>(*block.panels, edge, carried, x, pivots);
    } else {
      x[0] = carried[0].x;
      *single_ = pivots.invert(carried[0].escape);
    }
  }

  template <bool fused>
  PHASIC_MPI_INLINE void forward(const Plan::Block& block, Value* x) const {
    if constexpr (kHasSupernodes) {
      if (block.supernodes != nullptr) return supernodes_.forward(*block.supernodes, x);
    }
    if (block.sparse != nullptr) {
      sparse_.template forward<fused>(*block.sparse, x);
    } else if (block.panels != nullptr) {
      panels_.template forward<fused>(*block.panels, x);
    }
  }

  /// x = (S - U)^-1 x. Calls `fetch` now and then.
  template <class Fetch>
  PHASIC_MPI_INLINE void backward(const Plan::Block& block, Value* x, const Fetch& fetch) const {
    if constexpr (kHasSupernodes) {
      if (block.supernodes != nullptr) return supernodes_.backward(*block.supernodes, x);
    }
    if (block.sparse != nullptr) {
      sparse_.backward(*block.sparse, x, fetch);
    } else if (block.panels != nullptr) {
      panels_.backward(*block.panels, x);
    } else {
      x[0] = x[0] * *single_;
    }
  }

  /// The first vertex to be eliminated whose pivot has no meaning, or -1.
  [[nodiscard]] int32_t first_illegal(const Plan::Block& block) const {
    if constexpr (kHasSupernodes) {
      if (block.supernodes != nullptr) return supernodes_.first_illegal(*block.supernodes);
    }
    if (block.sparse != nullptr) return sparse_.first_illegal(*block.sparse);
    if (block.panels != nullptr) return panels_.first_illegal(*block.panels);
    return Pivots<T, n>::is_legal(*single_) ? -1 : 0;
  }

  /// x = M^-T x.
  PHASIC_MPI_INLINE void transposed(const Plan::Block& block, Value* x) const {
    if constexpr (kHasSupernodes) {
      if (block.supernodes != nullptr) return supernodes_.transposed(*block.supernodes, x);
    }
    if (block.sparse != nullptr) {
      sparse_.transposed(*block.sparse, x);
    } else if (block.panels != nullptr) {
      panels_.transposed(*block.panels, x);
    } else {
      x[0] = x[0] * *single_;
    }
  }

 private:
  SparseFactor<T, n> sparse_;
  PanelFactor<T, n> panels_;
  SupernodeFactor supernodes_;
  Value* single_ = nullptr;
};

}  // namespace phasic_mpi
