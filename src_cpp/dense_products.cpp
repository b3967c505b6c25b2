#include "dense_products.hpp"

#include <algorithm>
#include <array>

#include "lanes.hpp"

namespace phasic_mpi {
namespace {

/// Registers of `lanes` numbers, and tiles of the target that stay in them.
template <size_t lanes>
struct Tiles {
  typedef double Register __attribute__((vector_size(lanes * sizeof(double))));
  typedef double Loose
      __attribute__((vector_size(lanes * sizeof(double)), aligned(alignof(double)), may_alias));
  // Half of the registers hold the target. Measured on Zen 4: a tile one register wide reaches 50
  // Gflop/s, as much as with fused operations, one two registers wide 32.
  static constexpr size_t kVectors = lanes == 8 ? 1 : 2;
  static constexpr size_t kRows = lanes == 8 ? 16 : 4;
  // A single row has so many sums at work that none waits for itself.
  static constexpr size_t kVectorsOfOne = 4;

  // So many rows of `right` are packed at most, if so many rows of the target use them.
  static constexpr size_t kMostPacked = 192;
  static constexpr size_t kPackRows = 16;

  static_assert(kVectors * lanes <= DenseProducts::kBehind);

  PHASIC_MPI_INLINE static void add(const DenseProducts& products) {
    size_t column = 0;
    if (products.n_rows == 1) column = add_whole_tiles<kVectorsOfOne>(products, column);
    column = add_whole_tiles<kVectors>(products, column);
    if (column < products.n_columns) {
      add_columns<kVectors>(products, column, products.n_columns - column);
    }
  }

 private:
  struct Factors {
    const double* first;
    size_t stride;
  };

  /// As many as there are from a column on; returns the column behind them.
  template <size_t vectors>
  PHASIC_MPI_INLINE static size_t add_whole_tiles(const DenseProducts& products, size_t column) {
    constexpr size_t n_columns = vectors * lanes;
    for (; column + n_columns <= products.n_columns; column += n_columns) {
      add_columns<vectors>(products, column, n_columns);
    }
    return column;
  }

  /// Tiles below each other, of at most `vectors` registers.
  template <size_t vectors>
  PHASIC_MPI_INLINE static void add_columns(const DenseProducts& products, size_t column,
                                            size_t n_columns) {
    constexpr size_t width = vectors * lanes;
    const size_t first = column_of(products, column);
    const size_t last = column_of(products, column + n_columns - 1);
    const bool whole = n_columns == width && last - first == width - 1;
    size_t row = 0;
    Factors right{products.right + column, products.right_stride};
    alignas(64) std::array<double, kMostPacked * width> packed;
    if (products.n_rows >= kPackRows && products.depth <= kMostPacked) {
      right = pack<vectors>(right, products.depth, packed.data());
    }
    const auto add_rows = [&]<size_t rows>() {
      for (; row + rows <= products.n_rows; row += rows) {
        if (products.only_behind && last <= row_of(products, row)) return;
        std::array<double*, rows> target;
        for (size_t r = 0; r < rows; ++r) {
          target[r] = products.target + row_of(products, row + r) * products.target_stride;
        }
        if (whole) {
          for (double*& start : target) start += first;
          add_tile<rows, vectors>(products, row, right, target);
        } else {
          add_apart<rows, vectors>(products, row, right, column, n_columns, target);
        }
      }
    };
    add_rows.template operator()<kRows>();
    if constexpr (kRows > 8) add_rows.template operator()<8>();
    if constexpr (kRows > 4) add_rows.template operator()<4>();
    add_rows.template operator()<2>();
    add_rows.template operator()<1>();
  }

  PHASIC_MPI_INLINE static size_t row_of(const DenseProducts& products, size_t row) {
    return products.rows == nullptr ? row : static_cast<size_t>(products.rows[row]);
  }
  PHASIC_MPI_INLINE static size_t column_of(const DenseProducts& products, size_t column) {
    return products.columns == nullptr ? column : static_cast<size_t>(products.columns[column]);
  }

  /// Columns side by side for rows of tiles to come.
  template <size_t vectors>
  PHASIC_MPI_INLINE static Factors pack(Factors from, size_t depth, double* to) {
    const Factors packed{to, vectors * lanes};
    for (size_t k = 0; k < depth; ++k) {
#pragma GCC unroll 4
      for (size_t v = 0; v < vectors; ++v) {
        *reinterpret_cast<Register*>(to + v * lanes) =
            *reinterpret_cast<const Loose*>(from.first + v * lanes);
      }
      from.first += from.stride;
      to += packed.stride;
    }
    return packed;
  }

  /// For columns of the target that do not lie side by side, or are too few for a tile.
  template <size_t rows, size_t vectors>
  PHASIC_MPI_INLINE static void add_apart(const DenseProducts& products, size_t row,
                                          const Factors& right, size_t column, size_t n_columns,
                                          const std::array<double*, rows>& target) {
    alignas(64) double tile[rows][vectors * lanes] = {};
    std::array<double*, rows> start;
    for (size_t r = 0; r < rows; ++r) {
      start[r] = tile[r];
      for (size_t c = 0; c < n_columns; ++c) {
        tile[r][c] = target[r][column_of(products, column + c)];
      }
    }
    add_tile<rows, vectors>(products, row, right, start);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < n_columns; ++c) {
        target[r][column_of(products, column + c)] = tile[r][c];
      }
    }
  }

  template <size_t rows, size_t vectors>
  PHASIC_MPI_INLINE static void add_tile(const DenseProducts& products, size_t row, Factors right,
                                         const std::array<double*, rows>& target) {
    Register sum[rows][vectors];
#pragma GCC unroll 16
    for (size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (size_t v = 0; v < vectors; ++v) {
        sum[r][v] = *reinterpret_cast<const Loose*>(target[r] + v * lanes);
      }
    }
    const double* left = products.left + row;
    for (size_t k = 0; k < products.depth; ++k) {
      Register number[vectors];
#pragma GCC unroll 4
      for (size_t v = 0; v < vectors; ++v) {
        number[v] = *reinterpret_cast<const Loose*>(right.first + v * lanes);
      }
#pragma GCC unroll 16
      for (size_t r = 0; r < rows; ++r) {
        const Register multiplier = left[r] - Register{};
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; ++v) sum[r][v] += multiplier * number[v];
      }
      left += products.left_stride;
      right.first += right.stride;
    }
#pragma GCC unroll 16
    for (size_t r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (size_t v = 0; v < vectors; ++v) {
        *reinterpret_cast<Loose*>(target[r] + v * lanes) = sum[r][v];
      }
    }
  }
};

using Add = void (*)(const DenseProducts&);

__attribute__((flatten)) void add_portably(const DenseProducts& products) {
  Tiles<kRegister>::add(products);
}

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
__attribute__((target("avx2"), flatten)) void add_by_avx2(const DenseProducts& products) {
  Tiles<4>::add(products);
}
__attribute__((target("avx512f"), flatten)) void add_by_avx512(const DenseProducts& products) {
  Tiles<8>::add(products);
}

Add best() {
  if (__builtin_cpu_supports("avx512f") != 0) return add_by_avx512;
  if (__builtin_cpu_supports("avx2") != 0) return add_by_avx2;
  return add_portably;
}
#else
Add best() { return add_portably; }
#endif

}  // namespace

void DenseProducts::add() const {
  static const Add add_best = best();
  add_best(*this);
}

}  // namespace phasic_mpi
