#include "dense_products.hpp"

#include <algorithm>
#include <array>

#include "lanes.hpp"
#include "vectorised.hpp"

namespace phasic_mpi {
namespace {

/// Tiles of the target, `height` rows of `vectors` registers of `lanes` numbers, which stay in
/// registers.
template <bool fused, size_t lanes, size_t vectors, size_t height>
struct Tiles {
  typedef double Register __attribute__((vector_size(lanes * sizeof(double))));
  typedef double Loose
      __attribute__((vector_size(lanes * sizeof(double)), aligned(alignof(double)), may_alias));
  // A single row has so many sums at work that none waits for itself.
  static constexpr size_t kVectorsOfOne = 4;

  // Rows of the target that make it worth packing columns of `right`, and what makes it worth
  // packing `left`.
  static constexpr size_t kPackRows = 16;
  static constexpr size_t kPackLeftRows = 4;
  static constexpr size_t kPackLeftDepth = 8;
  static constexpr size_t kPackLeftColumns = 64;

  static_assert(vectors * lanes <= DenseProducts::kBehind);

  PHASIC_MPI_INLINE static void add(const DenseProducts& products, double* room) {
    const double* left = nullptr;
    if (products.n_rows >= kPackLeftRows && products.depth >= kPackLeftDepth &&
        products.n_columns >= kPackLeftColumns &&
        products.n_rows * products.depth <= DenseProducts::kRoom) {
      pack_left(products, room);
      left = room;
    }
    size_t column = 0;
    if (products.n_rows == 1) column = add_whole_tiles<kVectorsOfOne>(products, left, column);
    column = add_whole_tiles<vectors>(products, left, column);
    if (column < products.n_columns) {
      add_columns<vectors>(products, left, column, products.n_columns - column);
    }
  }

 private:
  struct Factors {
    const double* first;
    size_t stride;
  };

  /// Calls `visit` for tiles that follow one another, as high as they can be, with their first row.
  template <class Visit>
  PHASIC_MPI_INLINE static void visit_tiles(size_t n_rows, const Visit& visit) {
    size_t row = 0;
    const auto visit_height = [&]<size_t rows>() {
      for (; row + rows <= n_rows; row += rows) visit.template operator()<rows>(row);
    };
    visit_height.template operator()<height>();
    if constexpr (height > 8) visit_height.template operator()<8>();
    if constexpr (height > 4) visit_height.template operator()<4>();
    visit_height.template operator()<2>();
    visit_height.template operator()<1>();
  }

  /// Rows of each tile side by side: they are read again for all columns.
  PHASIC_MPI_INLINE static void pack_left(const DenseProducts& products, double* to) {
    visit_tiles(products.n_rows, [&]<size_t rows>(size_t row) {
      const double* from = products.left + row;
      for (size_t k = 0; k < products.depth; ++k) {
        to = std::copy_n(from, rows, to);
        from += products.left_stride;
      }
    });
  }

  /// As many as there are from a column on; returns the column behind them.
  template <size_t n_vectors>
  PHASIC_MPI_INLINE static size_t add_whole_tiles(const DenseProducts& products,
                                                  const double* packed_left, size_t column) {
    constexpr size_t n_columns = n_vectors * lanes;
    for (; column + n_columns <= products.n_columns; column += n_columns) {
      add_columns<n_vectors>(products, packed_left, column, n_columns);
    }
    return column;
  }

  /// Tiles below each other, of at most `n_vectors` registers. `packed_left` may be null.
  template <size_t n_vectors>
  PHASIC_MPI_INLINE static void add_columns(const DenseProducts& products,
                                            const double* packed_left, size_t column,
                                            size_t n_columns) {
    constexpr size_t width = n_vectors * lanes;
    const size_t first = column_of(products, column);
    const size_t last = column_of(products, column + n_columns - 1);
    const bool whole = n_columns == width && last - first == width - 1;
    Factors right{products.right + column, products.right_stride};
    alignas(64) std::array<double, DenseProducts::kMostPacked * width> packed;
    if (products.n_rows >= kPackRows && products.depth <= DenseProducts::kMostPacked) {
      right = pack<n_vectors>(right, products.depth, packed.data());
    }
    visit_tiles(products.n_rows, [&]<size_t rows>(size_t row) {
      if (products.only_behind && last <= row_of(products, row)) return;
      const Factors left = packed_left == nullptr
                               ? Factors{products.left + row, products.left_stride}
                               : Factors{packed_left + row * products.depth, rows};
      std::array<double*, rows> target;
      for (size_t r = 0; r < rows; ++r) {
        target[r] = products.target + row_of(products, row + r) * products.target_stride;
      }
      if (whole) {
        for (double*& start : target) start += first;
        add_tile<rows, n_vectors>(products.depth, left, right, target);
      } else {
        add_apart<rows, n_vectors>(products, left, right, column, n_columns, target);
      }
    });
  }

  PHASIC_MPI_INLINE static size_t row_of(const DenseProducts& products, size_t row) {
    return products.rows == nullptr ? row : static_cast<size_t>(products.rows[row]);
  }
  PHASIC_MPI_INLINE static size_t column_of(const DenseProducts& products, size_t column) {
    return products.columns == nullptr ? column : static_cast<size_t>(products.columns[column]);
  }

  /// Columns side by side for tiles to come. Those behind them are fetched: rows are too far from
  /// each other for the machine to do so.
  template <size_t n_vectors>
  PHASIC_MPI_INLINE static Factors pack(Factors from, size_t depth, double* to) {
    const Factors packed{to, n_vectors * lanes};
    for (size_t k = 0; k < depth; ++k) {
#pragma GCC unroll 4
      for (size_t v = 0; v < n_vectors; ++v) {
        *reinterpret_cast<Register*>(to + v * lanes) =
            *reinterpret_cast<const Loose*>(from.first + v * lanes);
        __builtin_prefetch(from.first + packed.stride + v * lanes, 0, 2);
      }
      from.first += from.stride;
      to += packed.stride;
    }
    return packed;
  }

  /// For columns of the target that do not lie side by side, or are too few for a tile.
  template <size_t rows, size_t n_vectors>
  PHASIC_MPI_INLINE static void add_apart(const DenseProducts& products, const Factors& left,
                                          const Factors& right, size_t column, size_t n_columns,
                                          const std::array<double*, rows>& target) {
    alignas(64) double tile[rows][n_vectors * lanes] = {};
    std::array<double*, rows> start;
    for (size_t r = 0; r < rows; ++r) {
      start[r] = tile[r];
      for (size_t c = 0; c < n_columns; ++c) {
        tile[r][c] = target[r][column_of(products, column + c)];
      }
    }
    add_tile<rows, n_vectors>(products.depth, left, right, start);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < n_columns; ++c) {
        target[r][column_of(products, column + c)] = tile[r][c];
      }
    }
  }

  template <size_t rows, size_t n_vectors>
  PHASIC_MPI_INLINE static void add_tile(size_t depth, Factors left, Factors right,
                                         const std::array<double*, rows>& target) {
    Register sum[rows][n_vectors];
#pragma GCC unroll 16
    for (size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (size_t v = 0; v < n_vectors; ++v) {
        sum[r][v] = *reinterpret_cast<const Loose*>(target[r] + v * lanes);
      }
    }
    for (size_t k = 0; k < depth; ++k) {
      Register number[n_vectors];
#pragma GCC unroll 4
      for (size_t v = 0; v < n_vectors; ++v) {
        number[v] = *reinterpret_cast<const Loose*>(right.first + v * lanes);
      }
#pragma GCC unroll 16
      for (size_t r = 0; r < rows; ++r) {
        const Register multiplier = left.first[r] - Register{};
#pragma GCC unroll 4
        for (size_t v = 0; v < n_vectors; ++v) {
          add_product_of_registers<fused>(sum[r][v], multiplier, number[v]);
        }
      }
      left.first += left.stride;
      right.first += right.stride;
    }
#pragma GCC unroll 16
    for (size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (size_t v = 0; v < n_vectors; ++v) {
        *reinterpret_cast<Loose*>(target[r] + v * lanes) = sum[r][v];
      }
    }
  }
};

using Add = void (*)(const DenseProducts&, double*);

PHASIC_MPI_KERNEL void add_portably(const DenseProducts& products, double* room) {
  Tiles<kAlwaysFused, kRegister, 2, 4>::add(products, room);
}

#ifdef PHASIC_MPI_HAS_AVX
PHASIC_MPI_KERNEL_FOR("avx2,fma") void add_by_avx2(const DenseProducts& products, double* room) {
  Tiles<true, 4, 2, 4>::add(products, room);
}
/// Measured on Zen 4, which multiplies and adds at the same time: tiles two registers wide reach 32
/// Gflop/s, these 50.
PHASIC_MPI_KERNEL_FOR("avx512f,fma")
void add_by_narrow_avx512(const DenseProducts& products, double* room) {
  Tiles<true, 8, 1, 16>::add(products, room);
}
/// Measured on Emerald Rapids: these reach 70 Gflop/s, tiles one register wide 55.
PHASIC_MPI_KERNEL_FOR("avx512f,fma")
void add_by_avx512(const DenseProducts& products, double* room) {
  Tiles<true, 8, 2, 8>::add(products, room);
}

Add best() {
  if (!has_avx2()) return add_portably;
  if (__builtin_cpu_supports("avx512f") == 0) return add_by_avx2;
  return __builtin_cpu_is("amd") != 0 ? add_by_narrow_avx512 : add_by_avx512;
}
#else
Add best() { return add_portably; }
#endif

}  // namespace

void DenseProducts::add(double* room) const {
  static const Add add_best = best();
  add_best(*this, room);
}

}  // namespace phasic_mpi
