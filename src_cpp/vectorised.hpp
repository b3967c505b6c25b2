// Kernels, compiled for the best instructions that the machine has.
#pragma once

#include <type_traits>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
// A function that holds all that it calls, with checks at every step, takes minutes to compile; and
// apart, functions for different instructions do not agree on how they hand on registers.
#define PHASIC_MPI_INLINE inline
#define PHASIC_MPI_KERNEL
#else
#define PHASIC_MPI_INLINE inline __attribute__((always_inline))
/// Compiled together with all that it calls.
#define PHASIC_MPI_KERNEL __attribute__((flatten))
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#ifdef __FMA__
#error "Build without -mfma and -march: kernels pick their instructions when the program runs."
#endif
#define PHASIC_MPI_HAS_AVX
#define PHASIC_MPI_KERNEL_FOR(instructions) __attribute__((flatten, target(instructions)))
#ifdef __OPTIMIZE__
// Operations on whole registers: what is written number by number does not become one again.
#include <immintrin.h>
#define PHASIC_MPI_HAS_FUSED_REGISTERS
#endif
#endif
#endif

namespace phasic_mpi {

/// Whether machines that run what is compiled for all of them have fused operations.
#ifdef __FP_FAST_FMA
constexpr bool kAlwaysFused = true;
#else
constexpr bool kAlwaysFused = false;
#endif

template <bool fused, class Work>
PHASIC_MPI_KERNEL void run_portably(const Work& work) {
  work(std::bool_constant<fused>());
}

#ifdef PHASIC_MPI_HAS_AVX
inline bool has_avx2() {
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
}

template <class Work>
PHASIC_MPI_KERNEL_FOR("avx2,fma")
void run_fused_by_avx2(const Work& work) {
  work(std::true_type());
}
/// GCC makes fused operations of products of complex numbers, and only of some, where it may.
template <class Work>
PHASIC_MPI_KERNEL_FOR("avx2")
void run_by_avx2(const Work& work) {
  work(std::false_type());
}
#endif

/// Does `work`, which gets std::true_type if it `may_fuse` and the machine can multiply and add in
/// one operation, rounded once.
template <bool may_fuse, class Work>
void run_vectorised(const Work& work) {
#ifdef PHASIC_MPI_HAS_AVX
  static const bool is_there = has_avx2();
  if (is_there) {
    if constexpr (may_fuse) {
      return run_fused_by_avx2(work);
    } else {
      return run_by_avx2(work);
    }
  }
#endif
  run_portably<may_fuse && kAlwaysFused>(work);
}

}  // namespace phasic_mpi
