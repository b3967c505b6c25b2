// Numbers for several theta side by side: the innermost loop of every batched kernel.
//
// A lane computes what a scalar would, operation by operation, and nothing is contracted or
// reassociated, so results depend neither on how many theta share a vector nor on the instruction
// set that works on it.
#pragma once

#include <array>
#include <bit>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <utility>

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
/// Compiled for several instruction sets; the loader picks the best that the machine has.
#define PHASIC_MPI_VECTORISED __attribute__((flatten, target_clones("avx2", "default")))
#else
#define PHASIC_MPI_VECTORISED __attribute__((flatten))
#endif
#define PHASIC_MPI_INLINE inline __attribute__((always_inline))

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
  [[nodiscard]] PHASIC_MPI_INLINE double lane(size_t index) const {
    return part[index / kRegister][index % kRegister];
  }
};

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
  PHASIC_MPI_INLINE friend Complexes operator*(const Complexes& a, const Complexes& b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
  }
  PHASIC_MPI_INLINE friend Complexes operator*(const Complexes& a, const Reals<n>& b) {
    return {a.re * b, a.im * b};
  }
};

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
        return Value{{RealRegister{read(p * kRegister), read(p * kRegister + 1),
                                   read(p * kRegister + 2), read(p * kRegister + 3)}...}};
      }(std::make_index_sequence<Value::kParts>());
    }
  }
  PHASIC_MPI_INLINE static Value load(const std::array<const double*, n>& lanes, size_t index) {
    return gather([&](size_t lane) { return lanes[lane][index]; });
  }
  PHASIC_MPI_INLINE static void store(const Value& value, const std::array<double*, n>& lanes,
                                      size_t index) {
    for (size_t lane = 0; lane < n; ++lane) lanes[lane][index] = get(value, lane);
  }
  PHASIC_MPI_INLINE static double get(const Value& value, size_t lane) {
    if constexpr (n == 1) {
      return value;
    } else {
      return value.lane(lane);
    }
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
  PHASIC_MPI_INLINE static Value inverse(const Value& pivot) {
    const Real scale = 1.0 / magnitude(pivot);
    return {pivot.re * scale, -pivot.im * scale};
  }
  /// Squared: pivots lie between the rates and |s|, far from where squares vanish or overflow.
  PHASIC_MPI_INLINE static Real magnitude(const Value& pivot) {
    return pivot.re * pivot.re + pivot.im * pivot.im;
  }
};

}  // namespace phasic_mpi
