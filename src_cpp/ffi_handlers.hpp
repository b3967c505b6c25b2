// The functions that XLA calls, by name. Registered in phasic_mpi/ffi.py.
#pragma once

#include <span>

namespace phasic_mpi {

struct FfiHandler {
  const char* name;
  void* function;  // XLA_FFI_Handler*
};

/// `record_blocks`: records the blocks behind a batch of handles.
///   operand    uint32[..., 2]  id of the BlockStore and handle; handle 0 is a row of padding
///   attribute  n_threads int64 threads to use at most, the calling one included
///   result     int32[...]      Status of each row, ok for padding
/// Rows are begun in the order given, on the calling thread and on XLA's own pool. Bad data in a
/// row is its status; an error of the whole call is a broken contract (shape, store or handle).
///
/// `solve_real`, `solve_complex`: see Systems in solve.hpp; T is float64 or complex128. Leading
/// dimensions are those of the batch, or 1 where an operand does not vary.
///   operands   float64[..., n_weights], T[..., n] shift, T[..., n_steps - 1, n] multiplier,
///              T[..., n_steps, n] right-hand sides
///   attributes plan int64, id of the Plan; transposed bool
///   result     T[..., n_steps, n]
/// They work on as many threads as XLA's own pool has, the calling one included, as do
///
/// `apply_edges`: W x or W^T x, see EdgeMatrix.
///   operands   float64[..., n_weights], float64[..., n] x
///   attributes plan int64, id of the Plan; transposed bool
///   result     float64[..., n]
///
/// `powers`: the sequence start P^k last, P = W + diag(stay), see EdgeMatrix.
///   operands   float64[..., n_weights], float64[..., n] stay, start and last
///   attribute  plan int64, id of the Plan
///   result     float64[..., n_terms]
std::span<const FfiHandler> ffi_handlers();

}  // namespace phasic_mpi
