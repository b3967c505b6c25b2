#include "ffi_handlers.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "block_store.hpp"

// XLA names members like their types, which GCC takes in extern "C" unless it is pedantic.
__extension__ extern "C" {
#include "xla/ffi/api/c_api.h"
}
#include "xla/ffi/api/ffi.h"

namespace phasic_mpi {
namespace {

namespace ffi = xla::ffi;

struct Row {
  size_t index;  // in the batch
  std::shared_ptr<BlockStore> store;
  uint32_t handle;
};

/// Rows that several threads work off together. It is shared with tasks in XLA's pool, which may
/// begin after the call has returned, so it owns all that they touch.
class Batch {
 public:
  explicit Batch(std::vector<Row> rows)
      : rows_(std::move(rows)), status_(rows_.size(), Status::ok), n_left_(rows_.size()) {}

  [[nodiscard]] const std::vector<Row>& rows() const { return rows_; }

  /// Records rows that no other thread has claimed until there are none.
  void work() {
    for (size_t row = next_++; row < rows_.size(); row = next_++) {
      try {
        status_[row] = rows_[row].store->record(rows_[row].handle);
      } catch (const std::exception& exc) {
        const std::lock_guard lock(mutex_);
        problem_ = exc.what();
      }
      if (--n_left_ == 0) n_left_.notify_all();
    }
  }

  /// Waits for rows only, each of which a running thread has claimed: tasks that the pool has not
  /// begun cannot block it, even if all its threads stand here.
  void wait() const {
    for (size_t left = n_left_.load(); left != 0; left = n_left_.load()) n_left_.wait(left);
  }

  /// After `wait`.
  [[nodiscard]] Status status(size_t row) const { return status_[row]; }
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  const std::vector<Row> rows_;
  std::vector<Status> status_;
  std::atomic<size_t> next_{0};
  std::atomic<size_t> n_left_;
  std::mutex mutex_;
  std::string problem_;  // of the last row that broke the contract
};

ffi::Error broken(const std::string& problem) {
  return ffi::Error::InvalidArgument("phasic_mpi record_blocks: " + problem);
}

ffi::Error record_blocks(ffi::ThreadPool pool, ffi::Buffer<ffi::U32> operand,
                         ffi::ResultBuffer<ffi::S32> result, int64_t n_threads) try {
  const size_t n_rows = result->element_count();
  if (operand.dimensions().size() == 0 || operand.dimensions().back() != 2 ||
      operand.element_count() != 2 * n_rows) {
    return broken("expected an operand uint32[..., 2] and a result int32[...]");
  }
  if (n_threads < 1) return broken("n_threads is " + std::to_string(n_threads) + ", not positive");

  std::vector<Row> rows;
  rows.reserve(n_rows);
  const uint32_t* pair = operand.typed_data();
  for (size_t row = 0; row < n_rows; ++row, pair += 2) {
    if (pair[1] == 0) continue;
    std::shared_ptr<BlockStore> store = BlockStore::find(pair[0]);
    if (store == nullptr) return broken("no block store has id " + std::to_string(pair[0]));
    rows.push_back({row, std::move(store), pair[1]});
  }

  const auto batch = std::make_shared<Batch>(std::move(rows));
  const int64_t n_workers =
      std::min({n_threads, pool.num_threads() + 1, static_cast<int64_t>(batch->rows().size())});
  for (int64_t helper = 1; helper < n_workers; ++helper) {
    pool.Schedule([batch] { batch->work(); });
  }
  batch->work();
  batch->wait();

  if (!batch->problem().empty()) return broken(batch->problem());
  int32_t* const status = result->typed_data();
  std::fill_n(status, n_rows, static_cast<int32_t>(Status::ok));
  for (size_t row = 0; row < batch->rows().size(); ++row) {
    status[batch->rows()[row].index] = static_cast<int32_t>(batch->status(row));
  }
  return ffi::Error::Success();
} catch (const std::exception& exc) {
  return ffi::Error::Internal(std::string("phasic_mpi record_blocks: ") + exc.what());
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(record_blocks_handler, record_blocks,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::Buffer<ffi::U32>>()
                                  .Ret<ffi::Buffer<ffi::S32>>()
                                  .Attr<int64_t>("n_threads"));

}  // namespace

std::span<const FfiHandler> ffi_handlers() {
  static const std::array<FfiHandler, 1> handlers{{
      {"record_blocks", reinterpret_cast<void*>(record_blocks_handler)},
  }};
  return handlers;
}

}  // namespace phasic_mpi
