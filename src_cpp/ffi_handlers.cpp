#include "ffi_handlers.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "block_store.hpp"
#include "edge_matrix.hpp"
#include "plan.hpp"
#include "registry.hpp"
#include "shared_tasks.hpp"
#include "solve.hpp"

// XLA names members like their types, which GCC takes in extern "C" unless it is pedantic.
__extension__ extern "C" {
#include "xla/ffi/api/c_api.h"
}
#include "xla/ffi/api/ffi.h"

namespace phasic_mpi {
namespace {

namespace ffi = xla::ffi;

struct Recording {
  struct Row {
    size_t index;  // in the batch
    std::shared_ptr<BlockStore> store;
    uint32_t handle;
  };
  std::vector<Row> rows;
  std::vector<Status> status;
};

ffi::Error broken(const char* handler, const std::string& problem) {
  return ffi::Error::InvalidArgument(std::string("phasic_mpi ") + handler + ": " + problem);
}

std::shared_ptr<const Plan> find_plan(int64_t id) {
  std::shared_ptr<const Plan> plan =
      Registry<const Plan>::instance().find(static_cast<uint32_t>(id));
  if (plan == nullptr) throw std::invalid_argument("no plan has id " + std::to_string(id));
  return plan;
}

/// What is wrong with the operands of a call.
std::invalid_argument misfit(const Plan& plan) {
  return std::invalid_argument("the shapes of operands and result do not fit a plan of " +
                               std::to_string(plan.n_weights()) + " weights and " +
                               std::to_string(plan.n_transient()) + " transient vertices");
}

/// Runs the body of a handler; its exceptions become XLA's errors.
template <class Body>
ffi::Error guarded(const char* handler, Body body) {
  try {
    const std::string problem = body();
    return problem.empty() ? ffi::Error::Success() : broken(handler, problem);
  } catch (const std::invalid_argument& exc) {
    return broken(handler, exc.what());
  } catch (const std::exception& exc) {
    return ffi::Error::Internal(std::string("phasic_mpi ") + handler + ": " + exc.what());
  }
}

ffi::Error record_blocks(ffi::ThreadPool pool, ffi::Buffer<ffi::U32> operand,
                         ffi::ResultBuffer<ffi::S32> result, int64_t n_threads) {
  return guarded("record_blocks", [&]() -> std::string {
    const size_t n_rows = result->element_count();
    if (operand.dimensions().size() == 0 || operand.dimensions().back() != 2 ||
        operand.element_count() != 2 * n_rows) {
      return "expected an operand uint32[..., 2] and a result int32[...]";
    }
    if (n_threads < 1) return "n_threads is " + std::to_string(n_threads) + ", not positive";

    const auto recording = std::make_shared<Recording>();
    const uint32_t* pair = operand.typed_data();
    for (size_t row = 0; row < n_rows; ++row, pair += 2) {
      if (pair[1] == 0) continue;
      std::shared_ptr<BlockStore> store = Registry<BlockStore>::instance().find(pair[0]);
      if (store == nullptr) return "no block store has id " + std::to_string(pair[0]);
      recording->rows.push_back({row, std::move(store), pair[1]});
    }
    recording->status.assign(recording->rows.size(), Status::ok);

    const std::string problem =
        run_tasks(pool, n_threads, recording->rows.size(), [recording](size_t row) {
          const Recording::Row& own = recording->rows[row];
          recording->status[row] = own.store->record(own.handle);
        });
    if (!problem.empty()) return problem;
    int32_t* const status = result->typed_data();
    std::fill_n(status, n_rows, static_cast<int32_t>(Status::ok));
    for (size_t row = 0; row < recording->rows.size(); ++row) {
      status[recording->rows[row].index] = static_cast<int32_t>(recording->status[row]);
    }
    return {};
  });
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(record_blocks_handler, record_blocks,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::Buffer<ffi::U32>>()
                                  .Ret<ffi::Buffer<ffi::S32>>()
                                  .Attr<int64_t>("n_threads"));

using Reals = ffi::Buffer<ffi::F64>;
using RealResult = ffi::ResultBuffer<ffi::F64>;

/// Strides of the leading dimensions of an array whose last `n_inner` dimensions are one item.
template <class T, class Buffer>
Operand<T> batched(const Buffer& buffer, T* data, size_t n_inner) {
  const auto dimensions = buffer.dimensions();
  const size_t n_outer = dimensions.size() - n_inner;
  Operand<T> out{data, std::vector<int64_t>(n_outer, 0)};
  int64_t stride = 1;
  for (size_t d = dimensions.size(); d-- > 0;) {
    if (d < n_outer && dimensions[d] != 1) out.stride[d] = stride;
    stride *= dimensions[d];
  }
  return out;
}

/// Leading dimensions equal to those of the batch or 1, trailing ones equal to `inner`.
template <class Buffer>
bool fits(const Buffer& buffer, std::span<const int64_t> batch, std::vector<int64_t> inner) {
  const auto dimensions = buffer.dimensions();
  if (dimensions.size() != batch.size() + inner.size()) return false;
  for (size_t d = 0; d < batch.size(); ++d) {
    if (dimensions[d] != batch[d] && dimensions[d] != 1) return false;
  }
  return std::equal(inner.begin(), inner.end(), dimensions.begin() + batch.size());
}

/// Leading dimensions of the batch, of a result whose last `n_inner` dimensions are one item.
template <class Buffer>
std::vector<int64_t> batch_of(const Buffer& result, size_t n_inner) {
  const auto dimensions = result.dimensions();
  if (dimensions.size() < n_inner) throw std::invalid_argument("the result has too few dimensions");
  return {dimensions.begin(), dimensions.end() - static_cast<int64_t>(n_inner)};
}

template <ffi::DataType type>
ffi::Error solve_systems(ffi::ThreadPool pool, Reals weight, ffi::Buffer<type> shift,
                         ffi::Buffer<type> multiplier, ffi::Buffer<type> rhs,
                         ffi::ResultBuffer<type> solution, int64_t plan_id, bool transposed) {
  using T = ffi::NativeType<type>;
  return guarded("solve", [&] {
    const std::shared_ptr<const Plan> plan = find_plan(plan_id);
    const std::vector<int64_t> batch = batch_of(*solution, 2);
    const int64_t n_steps = solution->dimensions()[batch.size()];
    const auto n = static_cast<int64_t>(plan->n_transient());
    if (n_steps < 1 || !fits(*solution, batch, {n_steps, n}) || !fits(rhs, batch, {n_steps, n}) ||
        !fits(multiplier, batch, {n_steps - 1, n}) || !fits(shift, batch, {n}) ||
        !fits(weight, batch, {static_cast<int64_t>(plan->n_weights())})) {
      throw misfit(*plan);
    }
    Systems<T> systems{
        batch,
        n_steps,
        batched<const double>(weight, weight.typed_data(), 1),
        batched<const T>(shift, shift.typed_data(), 1),
        batched<const T>(multiplier, multiplier.typed_data(), 2),
        batched<const T>(rhs, rhs.typed_data(), 2),
        batched<T>(*solution, solution->typed_data(), 2),
    };
    const auto solver = std::make_shared<BatchSolver<T>>(plan, std::move(systems), transposed);
    return run_tasks(pool, pool.num_threads(), solver->n_tasks(),
                     [solver](size_t task) { solver->run(task); });
  });
}

template <ffi::DataType type>
auto solve_binding() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<ffi::Buffer<ffi::F64>>()
      .template Arg<ffi::Buffer<type>>()
      .template Arg<ffi::Buffer<type>>()
      .template Arg<ffi::Buffer<type>>()
      .template Ret<ffi::Buffer<type>>()
      .template Attr<int64_t>("plan")
      .template Attr<bool>("transposed");
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(solve_real_handler, solve_systems<ffi::F64>,
                              solve_binding<ffi::F64>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(solve_complex_handler, solve_systems<ffi::C128>,
                              solve_binding<ffi::C128>());

/// Calls `run(index)` with the index of every member of a batch, in parallel.
template <class Run>
std::string for_each(ffi::ThreadPool& pool, const std::vector<int64_t>& batch, Run run) {
  size_t n_members = 1;
  for (const int64_t extent : batch) n_members *= static_cast<size_t>(extent);
  return run_tasks(pool, pool.num_threads(), n_members, [batch, run](size_t member) {
    std::vector<int64_t> index(batch.size());
    for (size_t d = batch.size(); d-- > 0;) {
      const auto extent = static_cast<size_t>(batch[d]);
      index[d] = static_cast<int64_t>(member % extent);
      member /= extent;
    }
    run(index);
  });
}

ffi::Error apply_edges(ffi::ThreadPool pool, Reals weight, Reals x, RealResult y, int64_t plan_id,
                       bool transposed) {
  return guarded("apply_edges", [&] {
    const std::shared_ptr<const Plan> plan = find_plan(plan_id);
    const std::vector<int64_t> batch = batch_of(*y, 1);
    const auto n = static_cast<int64_t>(plan->n_transient());
    if (!fits(*y, batch, {n}) || !fits(x, batch, {n}) ||
        !fits(weight, batch, {static_cast<int64_t>(plan->n_weights())})) {
      throw misfit(*plan);
    }
    const auto weights = batched<const double>(weight, weight.typed_data(), 1);
    const auto from = batched<const double>(x, x.typed_data(), 1);
    const auto to = batched<double>(*y, y->typed_data(), 1);
    return for_each(pool, batch, [=](const std::vector<int64_t>& index) {
      if (transposed) {
        plan->edges().apply_transposed(weights.at(index), from.at(index), to.at(index));
      } else {
        plan->edges().apply(weights.at(index), from.at(index), to.at(index));
      }
    });
  });
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(apply_edges_handler, apply_edges,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Reals>()
                                  .Arg<Reals>()
                                  .Ret<Reals>()
                                  .Attr<int64_t>("plan")
                                  .Attr<bool>("transposed"));

ffi::Error powers(ffi::ThreadPool pool, Reals weight, Reals stay, Reals start, Reals last,
                  RealResult terms, int64_t plan_id) {
  return guarded("powers", [&] {
    const std::shared_ptr<const Plan> plan = find_plan(plan_id);
    const std::vector<int64_t> batch = batch_of(*terms, 1);
    const int64_t n_terms = terms->dimensions().back();
    const auto n = static_cast<int64_t>(plan->n_transient());
    if (!fits(*terms, batch, {n_terms}) || !fits(stay, batch, {n}) || !fits(start, batch, {n}) ||
        !fits(last, batch, {n}) ||
        !fits(weight, batch, {static_cast<int64_t>(plan->n_weights())})) {
      throw misfit(*plan);
    }
    const auto weights = batched<const double>(weight, weight.typed_data(), 1);
    const auto stays = batched<const double>(stay, stay.typed_data(), 1);
    const auto starts = batched<const double>(start, start.typed_data(), 1);
    const auto lasts = batched<const double>(last, last.typed_data(), 1);
    const auto to = batched<double>(*terms, terms->typed_data(), 1);
    return for_each(pool, batch, [=](const std::vector<int64_t>& index) {
      plan->edges().powers(weights.at(index), stays.at(index), starts.at(index), lasts.at(index),
                           {to.at(index), static_cast<size_t>(n_terms)});
    });
  });
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(powers_handler, powers,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Reals>()
                                  .Arg<Reals>()
                                  .Arg<Reals>()
                                  .Arg<Reals>()
                                  .Ret<Reals>()
                                  .Attr<int64_t>("plan"));

ffi::Error mixtures(ffi::ThreadPool pool, Reals weight, Reals stay, Reals start, Reals share,
                    RealResult result, int64_t plan_id) {
  return guarded("mixtures", [&] {
    const std::shared_ptr<const Plan> plan = find_plan(plan_id);
    const std::vector<int64_t> batch = batch_of(*result, 2);
    const auto n = static_cast<int64_t>(plan->n_transient());
    const int64_t n_mixtures = result->dimensions()[batch.size()];
    const int64_t n_terms = share.dimensions().size() == 0 ? 0 : share.dimensions().back();
    if (!fits(*result, batch, {n_mixtures, n}) || !fits(stay, batch, {n}) ||
        !fits(start, batch, {n}) || !fits(share, batch, {n_mixtures, n_terms}) ||
        !fits(weight, batch, {static_cast<int64_t>(plan->n_weights())})) {
      throw misfit(*plan);
    }
    const auto weights = batched<const double>(weight, weight.typed_data(), 1);
    const auto stays = batched<const double>(stay, stay.typed_data(), 1);
    const auto starts = batched<const double>(start, start.typed_data(), 1);
    const auto shares = batched<const double>(share, share.typed_data(), 2);
    const auto to = batched<double>(*result, result->typed_data(), 2);
    return for_each(pool, batch, [=](const std::vector<int64_t>& index) {
      plan->edges().mixtures(weights.at(index), stays.at(index), starts.at(index), shares.at(index),
                             static_cast<size_t>(n_mixtures), static_cast<size_t>(n_terms),
                             to.at(index));
    });
  });
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(mixtures_handler, mixtures,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Reals>()
                                  .Arg<Reals>()
                                  .Arg<Reals>()
                                  .Arg<Reals>()
                                  .Ret<Reals>()
                                  .Attr<int64_t>("plan"));

}  // namespace

std::span<const FfiHandler> ffi_handlers() {
  static const std::array<FfiHandler, 6> handlers{{
      {"record_blocks", reinterpret_cast<void*>(record_blocks_handler)},
      {"solve_real", reinterpret_cast<void*>(solve_real_handler)},
      {"solve_complex", reinterpret_cast<void*>(solve_complex_handler)},
      {"apply_edges", reinterpret_cast<void*>(apply_edges_handler)},
      {"powers", reinterpret_cast<void*>(powers_handler)},
      {"mixtures", reinterpret_cast<void*>(mixtures_handler)},
  }};
  return handlers;
}

}  // namespace phasic_mpi
