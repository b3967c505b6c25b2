// Numbers for several theta side by side: the innermost loop of every batched kernel.
//
// A lane computes what a scalar would, operation by operation, and nothing is contracted that is
// not written so, nor reassociated. So results depend neither on how many theta share a vector nor
// on the instruction set that works on it, but on whether that has fused operations.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "vectorised.hpp"

// Registers are passed between inlined functions only, so their calling convention is of no
// concern.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace phasic_mpi {

/// As many numbers as a register of AVX2 holds. Compilers take wider vectors apart by way of
/// memory.
constexpr size_t kRegister = 4;
typedef double RealRegister __attribute__((vector_size(kRegister * sizeof(double))));
typedef uint64_t BitRegister __attribute__((vector_size(kRegister * sizeof(uint64_t))));

/// `n` doubles, a multiple of kRegister, with the arithmetic operators of one. Compilers align bare
/// vectors by the instruction set of the function at hand; this looks the same from all of them.
template <size_t n>
struct alignas(kRegister * sizeof(double)) Vector {
  static constexpr size_t kParts = n / kRegister;
  RealRegister part[kParts];

  Vector() = default;
  template <class... Parts>
    requires(sizeof...(Parts) == kParts && (std::is_same_v<Parts, RealRegister> && ...))
  PHASIC_MPI_INLINE explicit Vector(const Parts&... parts) : part{parts...} {}
  // Written out: compilers copy a structure by way of memory, in pieces smaller than a register.
  PHASIC_MPI_INLINE Vector(const Vector& other) { *this = other; }
  PHASIC_MPI_INLINE Vector& operator=(const Vector& other) {
    for (size_t p = 0; p < kParts; ++p) part[p] = other.part[p];
    return *this;
  }

  PHASIC_MPI_INLINE Vector& operator+=(const Vector& other) {
    for (size_t p = 0; p < kParts; ++p) part[p] += other.part[p];
    return *this;
  }
  PHASIC_MPI_INLINE Vector& operator-=(const Vector& other) {
    for (size_t p = 0; p < kParts; ++p) part[p] -= other.part[p];
    return *this;
  }
  PHASIC_MPI_INLINE Vector& operator*=(const Vector& other) {
    for (size_t p = 0; p < kParts; ++p) part[p] *= other.part[p];
    return *this;
  }
  PHASIC_MPI_INLINE Vector& operator-=(double other) {
    for (size_t p = 0; p < kParts; ++p) part[p] -= other;
    return *this;
  }
  PHASIC_MPI_INLINE friend Vector operator+(Vector a, const Vector& b) { return a += b; }
  PHASIC_MPI_INLINE friend Vector operator-(Vector a, const Vector& b) { return a -= b; }
  PHASIC_MPI_INLINE friend Vector operator*(Vector a, const Vector& b) { return a *= b; }
  PHASIC_MPI_INLINE friend Vector operator-(Vector a, double b) { return a -= b; }
  PHASIC_MPI_INLINE friend Vector operator-(Vector a) {
    for (size_t p = 0; p < kParts; ++p) a.part[p] = -a.part[p];
    return a;
  }
  PHASIC_MPI_INLINE friend Vector operator/(double a, Vector b) {
    for (size_t p = 0; p < kParts; ++p) b.part[p] = a / b.part[p];
    return b;
  }
  PHASIC_MPI_INLINE friend Vector operator*(Vector a, double b) {
    for (size_t p = 0; p < kParts; ++p) a.part[p] *= b;
    return a;
  }
  [[nodiscard]] PHASIC_MPI_INLINE double lane(size_t index) const {
    return part[index / kRegister][index % kRegister];
  }
  PHASIC_MPI_INLINE void set_lane(size_t index, double number) {
    part[index / kRegister][index % kRegister] = number;
  }
  /// Lanes before `first` become 0.
  PHASIC_MPI_INLINE void keep_from(size_t first) {
    for (size_t p = 0; p < kParts; ++p) {
      BitRegister kept;
      for (size_t i = 0; i < kRegister; ++i) kept[i] = p * kRegister + i < first ? 0 : ~uint64_t{0};
      part[p] = RealRegister(BitRegister(part[p]) & kept);
    }
  }
};

/// sum + a b, rounded once if it is `fused`.
template <bool fused>
PHASIC_MPI_INLINE void add_product(double& sum, double a, double b) {
  sum = fused ? __builtin_fma(a, b, sum) : sum + a * b;
}
template <bool fused, class Register>
PHASIC_MPI_INLINE void add_product_of_registers(Register& sum, const Register& a,
                                                const Register& b) {
  constexpr size_t n = sizeof(Register) / sizeof(double);
  if constexpr (!fused) {
    sum += a * b;
#ifdef PHASIC_MPI_HAS_FUSED_REGISTERS
  } else if constexpr (n == 4) {
    sum = __builtin_ia32_vfmaddpd256(a, b, sum);
  } else if constexpr (n == 8) {
    constexpr char kAll = -1;
    sum = __builtin_ia32_vfmaddpd512_mask(a, b, sum, kAll, _MM_FROUND_CUR_DIRECTION);
#endif
  } else {
    for (size_t i = 0; i < n; ++i) sum[i] = __builtin_fma(a[i], b[i], sum[i]);
  }
}
template <bool fused, size_t n>
PHASIC_MPI_INLINE void add_product(Vector<n>& sum, const Vector<n>& a, const Vector<n>& b) {
  for (size_t p = 0; p < Vector<n>::kParts; ++p) {
    add_product_of_registers<fused>(sum.part[p], a.part[p], b.part[p]);
  }
}
template <bool fused, size_t n>
PHASIC_MPI_INLINE void add_product(Vector<n>& sum, const Vector<n>& a, double b) {
  for (size_t p = 0; p < Vector<n>::kParts; ++p) {
    add_product_of_registers<fused>(sum.part[p], a.part[p], RealRegister{b, b, b, b});
  }
}

/// A register's worth of numbers somewhere in an array.
typedef double LooseRegister
    __attribute__((vector_size(kRegister * sizeof(double)), aligned(alignof(double)), may_alias));

PHASIC_MPI_INLINE RealRegister load_register(const double* from) {
  return *reinterpret_cast<const LooseRegister*>(from);
}
PHASIC_MPI_INLINE void store_register(const RealRegister& numbers, double* to) {
  *reinterpret_cast<LooseRegister*>(to) = numbers;
}

/// Swaps rows and columns of a square.
PHASIC_MPI_INLINE void transpose(RealRegister& a, RealRegister& b, RealRegister& c,
                                 RealRegister& d) {
  const RealRegister ab_even = __builtin_shuffle(a, b, BitRegister{0, 4, 2, 6});
  const RealRegister ab_odd = __builtin_shuffle(a, b, BitRegister{1, 5, 3, 7});
  const RealRegister cd_even = __builtin_shuffle(c, d, BitRegister{0, 4, 2, 6});
  const RealRegister cd_odd = __builtin_shuffle(c, d, BitRegister{1, 5, 3, 7});
  a = __builtin_shuffle(ab_even, cd_even, BitRegister{0, 1, 4, 5});
  b = __builtin_shuffle(ab_odd, cd_odd, BitRegister{0, 1, 4, 5});
  c = __builtin_shuffle(ab_even, cd_even, BitRegister{2, 3, 6, 7});
  d = __builtin_shuffle(ab_odd, cd_odd, BitRegister{2, 3, 6, 7});
}

template <size_t n>
struct RealLanes {
  using type = Vector<n>;
};
template <>
struct RealLanes<1> {
  using type = double;
};
/// `n` doubles, 1 or a multiple of kRegister.
template <size_t n>
using Reals = typename RealLanes<n>::type;

/// Remembers which lanes have met a number that is negative, infinite or no number.
template <size_t n>
class Poison {
 public:
  PHASIC_MPI_INLINE void meet(const Vector<n>& number) {
    for (size_t p = 0; p < kParts; ++p) met_[p] |= marks(BitRegister(number.part[p] + 0.0));
  }
  [[nodiscard]] PHASIC_MPI_INLINE bool any() const {
    BitRegister all{};
    for (size_t p = 0; p < kParts; ++p) all |= met_[p] >> 63;
    return (all[0] | all[1] | all[2] | all[3]) != 0;
  }

  /// NaN in those lanes, 0 in the others.
  [[nodiscard]] PHASIC_MPI_INLINE Vector<n> value() const {
    Vector<n> out;
    for (size_t p = 0; p < kParts; ++p) out.part[p] = RealRegister(-(met_[p] >> 63));
    return out;
  }

  /// The sign bit is set if the number is negative (adding 0 has made -0 into 0), or once 1 is
  /// added to an exponent that is full. Compilers take comparisons of vectors apart, but not these.
  template <class Bits>
  PHASIC_MPI_INLINE static Bits marks(const Bits& bits) {
    return bits | (bits + (uint64_t{1} << 52));
  }

 private:
  static constexpr size_t kParts = n / kRegister;
  BitRegister met_[kParts]{};
};

template <>
class Poison<1> {
 public:
  PHASIC_MPI_INLINE void meet(double number) {
    met_ |= Poison<kRegister>::marks(std::bit_cast<uint64_t>(number + 0.0));
  }
  PHASIC_MPI_INLINE void meet(const double* numbers, size_t count) {
    uint64_t met = 0;
    for (size_t i = 0; i < count; ++i) {
      met |= Poison<kRegister>::marks(std::bit_cast<uint64_t>(numbers[i] + 0.0));
    }
    met_ |= met;
  }
  void meet(const Poison& other) { met_ |= other.met_; }
  [[nodiscard]] PHASIC_MPI_INLINE bool any() const { return met_ >> 63 != 0; }
  [[nodiscard]] PHASIC_MPI_INLINE double value() const {
    return std::bit_cast<double>(-(met_ >> 63));
  }

 private:
  uint64_t met_ = 0;
};

/// `n` complex doubles with the operators that elimination needs.
template <size_t n>
struct Complexes {
  Reals<n> re;
  Reals<n> im;

  PHASIC_MPI_INLINE Complexes& operator+=(const Complexes& other) {
    re += other.re;
    im += other.im;
    return *this;
  }
  PHASIC_MPI_INLINE Complexes& operator+=(const Reals<n>& other) {
    re += other;
    return *this;
  }
  /// By as many numbers or by one.
  template <size_t m>
  PHASIC_MPI_INLINE friend Complexes operator*(const Complexes& a, const Complexes<m>& b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
  }
  PHASIC_MPI_INLINE friend Complexes operator*(const Complexes& a, const Reals<n>& b) {
    return {a.re * b, a.im * b};
  }
  PHASIC_MPI_INLINE void keep_from(size_t first) {
    re.keep_from(first);
    im.keep_from(first);
  }
};

/// Never fused: of four products, two would be.
template <bool fused, size_t n, size_t m>
PHASIC_MPI_INLINE void add_product(Complexes<n>& sum, const Complexes<n>& a,
                                   const Complexes<m>& b) {
  sum += a * b;
}

/// Lanes of `T`: how they are read from and written to one array per lane.
template <class T, size_t n>
struct Lanes;

template <size_t n>
struct Lanes<double, n> {
  using Real = Reals<n>;
  using Value = Reals<n>;

  template <class Read>
  PHASIC_MPI_INLINE static Value gather(const Read& read) {
    if constexpr (n == 1) {
      return read(0);
    } else {
      // In one expression: filled number by number, a register takes a detour through memory.
      return [&]<size_t... p>(std::index_sequence<p...>) {
        return Value{RealRegister{read(p * kRegister), read(p * kRegister + 1),
                                  read(p * kRegister + 2), read(p * kRegister + 3)}...};
      }(std::make_index_sequence<Value::kParts>());
    }
  }
  /// From numbers as a single lane has them.
  template <class Read>
  PHASIC_MPI_INLINE static Value collect(const Read& read) {
    return gather(read);
  }
  PHASIC_MPI_INLINE static Value load(const std::array<const double*, n>& lanes, size_t index) {
    return gather([&](size_t lane) { return lanes[lane][index]; });
  }
  PHASIC_MPI_INLINE static void store(const Value& value, const std::array<double*, n>& lanes,
                                      size_t index) {
    for (size_t lane = 0; lane < n; ++lane) lanes[lane][index] = get(value, lane);
  }
  /// Hands numbers `first` to `first + count` of all arrays to `put`, counted from 0.
  template <class Put>
  PHASIC_MPI_INLINE static void load_all(const std::array<const double*, n>& lanes, size_t first,
                                         size_t count, const Put& put) {
    size_t i = 0;
    if constexpr (n > 1) {
      for (; i + kRegister <= count; i += kRegister) {
        std::array<Value, kRegister> square;
        for (size_t p = 0; p < Value::kParts; ++p) {
          const double* const* const four = lanes.data() + p * kRegister;
          for (size_t k = 0; k < kRegister; ++k) {
            square[k].part[p] = load_register(four[k] + first + i);
          }
          transpose(square[0].part[p], square[1].part[p], square[2].part[p], square[3].part[p]);
        }
        for (size_t k = 0; k < kRegister; ++k) put(i + k, square[k]);
      }
    }
    for (; i < count; ++i) put(i, load(lanes, first + i));
  }
  /// `count` numbers of each lane to the beginning of its array.
  PHASIC_MPI_INLINE static void store_all(const Value* values, size_t count,
                                          const std::array<double*, n>& lanes) {
    size_t i = 0;
    if constexpr (n > 1) {
      for (; i + kRegister <= count; i += kRegister) {
        for (size_t p = 0; p < Value::kParts; ++p) {
          RealRegister a = values[i].part[p];
          RealRegister b = values[i + 1].part[p];
          RealRegister c = values[i + 2].part[p];
          RealRegister d = values[i + 3].part[p];
          transpose(a, b, c, d);
          double* const* const four = lanes.data() + p * kRegister;
          store_register(a, four[0] + i);
          store_register(b, four[1] + i);
          store_register(c, four[2] + i);
          store_register(d, four[3] + i);
        }
      }
    }
    for (; i < count; ++i) store(values[i], lanes, i);
  }
  PHASIC_MPI_INLINE static double get(const Value& value, size_t lane) {
    if constexpr (n == 1) {
      return value;
    } else {
      return value.lane(lane);
    }
  }
  PHASIC_MPI_INLINE static void set(Value& value, size_t lane, double number) {
    if constexpr (n == 1) {
      value = number;
    } else {
      value.set_lane(lane, number);
    }
  }
  /// The same number in every lane.
  PHASIC_MPI_INLINE static Value spread(double number) {
    return gather([&](size_t) { return number; });
  }
  PHASIC_MPI_INLINE static Value inverse(const Value& pivot) { return 1.0 / pivot; }
  PHASIC_MPI_INLINE static Real magnitude(const Value& pivot) { return pivot; }
};

template <size_t n>
struct Lanes<std::complex<double>, n> {
  using Real = Reals<n>;
  using Value = Complexes<n>;
  using Part = Lanes<double, n>;

  PHASIC_MPI_INLINE static Value load(const std::array<const std::complex<double>*, n>& lanes,
                                      size_t index) {
    return {Part::gather([&](size_t lane) { return lanes[lane][index].real(); }),
            Part::gather([&](size_t lane) { return lanes[lane][index].imag(); })};
  }
  PHASIC_MPI_INLINE static void store(const Value& value,
                                      const std::array<std::complex<double>*, n>& lanes,
                                      size_t index) {
    for (size_t lane = 0; lane < n; ++lane) {
      lanes[lane][index] = {Part::get(value.re, lane), Part::get(value.im, lane)};
    }
  }
  PHASIC_MPI_INLINE static void store_all(const Value* values, size_t count,
                                          const std::array<std::complex<double>*, n>& lanes) {
    for (size_t i = 0; i < count; ++i) store(values[i], lanes, i);
  }
  /// From numbers as a single lane has them.
  template <class Read>
  PHASIC_MPI_INLINE static Value collect(const Read& read) {
    return {Part::gather([&](size_t lane) { return read(lane).re; }),
            Part::gather([&](size_t lane) { return read(lane).im; })};
  }
  PHASIC_MPI_INLINE static Complexes<1> get(const Value& value, size_t lane) {
    return {Part::get(value.re, lane), Part::get(value.im, lane)};
  }
  PHASIC_MPI_INLINE static void set(Value& value, size_t lane, const Complexes<1>& number) {
    Part::set(value.re, lane, number.re);
    Part::set(value.im, lane, number.im);
  }
  PHASIC_MPI_INLINE static Value spread(const std::complex<double>& number) {
    return {Part::spread(number.real()), Part::spread(number.imag())};
  }
  PHASIC_MPI_INLINE static Value inverse(const Value& pivot) {
    const Real scale = 1.0 / magnitude(pivot);
    return {pivot.re * scale, -pivot.im * scale};
  }
  /// Squared: pivots lie between the rates and |s|, far from where squares vanish or overflow.
  PHASIC_MPI_INLINE static Real magnitude(const Value& pivot) {
    return pivot.re * pivot.re + pivot.im * pivot.im;
  }
};

/// One number of each of `rows` rows, all of which meet the same numbers of another row.
template <class T, size_t n, size_t rows>
class Rows {
  using Value = typename Lanes<T, n>::Value;

 public:
  PHASIC_MPI_INLINE static Rows load(const Value* numbers) {
    Rows out;
    for (size_t j = 0; j < rows; ++j) out.row_[j] = numbers[j];
    return out;
  }
  template <bool fused>
  PHASIC_MPI_INLINE void add(const Rows& multiplier, const Value& number) {
    for (size_t j = 0; j < rows; ++j) add_product<fused>(row_[j], multiplier.row_[j], number);
  }
  PHASIC_MPI_INLINE friend Rows operator*(const Rows& a, const Value& b) {
    Rows out;
    for (size_t j = 0; j < rows; ++j) out.row_[j] = a.row_[j] * b;
    return out;
  }
  /// Rows before `first` become 0.
  PHASIC_MPI_INLINE void keep_from(size_t first) {
    for (size_t j = 0; j < first; ++j) row_[j] = Value{};
  }
  [[nodiscard]] PHASIC_MPI_INLINE const Value& get(size_t row) const { return row_[row]; }
  PHASIC_MPI_INLINE void set(size_t row, const Value& value) { row_[row] = value; }

 private:
  std::array<Value, rows> row_{};
};

/// With one theta, rows take the places of lanes.
template <class T>
class Rows<T, 1, kRegister> {
  using Lane = Lanes<T, kRegister>;
  using Value = typename Lanes<T, 1>::Value;

 public:
  PHASIC_MPI_INLINE static Rows load(const Value* numbers) {
    Rows out;
    out.lanes_ = Lane::collect([&](size_t row) { return numbers[row]; });
    return out;
  }
  template <bool fused>
  PHASIC_MPI_INLINE void add(const Rows& multiplier, const Value& number) {
    add_product<fused>(lanes_, multiplier.lanes_, number);
  }
  PHASIC_MPI_INLINE friend Rows operator*(const Rows& a, const Value& b) {
    Rows out;
    out.lanes_ = a.lanes_ * b;
    return out;
  }
  PHASIC_MPI_INLINE void keep_from(size_t first) { lanes_.keep_from(first); }
  [[nodiscard]] PHASIC_MPI_INLINE Value get(size_t row) const { return Lane::get(lanes_, row); }
  PHASIC_MPI_INLINE void set(size_t row, const Value& value) { Lane::set(lanes_, row, value); }

 private:
  typename Lane::Value lanes_{};
};

}  // namespace phasic_mpi
