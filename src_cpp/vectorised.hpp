// Kernels, compiled for the best instructions that the machine has.
#pragma once

#include <type_traits>

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#define PHASIC_MPI_HAS_AVX
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
// A function that holds all that it calls, with checks at every step, takes minutes to compile.
#define PHASIC_MPI_INLINE inline
#define PHASIC_MPI_FLATTEN
#else
#define PHASIC_MPI_INLINE inline __attribute__((always_inline))
#define PHASIC_MPI_FLATTEN __attribute__((flatten))
#ifdef PHASIC_MPI_HAS_AVX
// Operations on whole registers: what is written number by number does not become one again.
#include <immintrin.h>
#define PHASIC_MPI_HAS_FUSED_REGISTERS
#endif
#endif

namespace phasic_mpi {

/// Whether machines that run what is compiled for all of them have fused operations.
#ifdef __FP_FAST_FMA
constexpr bool kAlwaysFused = true;
#else
constexpr bool kAlwaysFused = false;
#endif

template <class Work>
PHASIC_MPI_FLATTEN void run_portably(const Work& work) {
  work(std::bool_constant<kAlwaysFused>());
}

#ifdef PHASIC_MPI_HAS_AVX
inline bool has_avx2() {
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
}

template <class Work>
__attribute__((target("avx2,fma"))) PHASIC_MPI_FLATTEN void run_by_avx2(const Work& work) {
  work(std::true_type());
}
/// Without fused operations: GCC makes them of products of complex numbers, and only of some.
template <class Work>
__attribute__((target("avx2"))) PHASIC_MPI_FLATTEN void run_apart_by_avx2(const Work& work) {
  work(std::false_type());
}
#endif

/// Does `work`, compiled together with all that it calls. It gets std::true_type if `may_fuse` and
/// the machine can multiply and add in one operation, rounded once.
template <bool may_fuse, class Work>
void run_vectorised(const Work& work) {
#ifdef PHASIC_MPI_HAS_AVX
  static const bool is_there = has_avx2();
  if (is_there) return may_fuse ? run_by_avx2(work) : run_apart_by_avx2(work);
#endif
  run_portably(work);
}

}  // namespace phasic_mpi
