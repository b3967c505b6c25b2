// Blocks on their way through the recorder: put in by handle, recorded by any thread, taken out.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "record.hpp"
#include "status.hpp"
#include "views.hpp"

namespace phasic_mpi {

/// Holds ragged blocks and patterns beside XLA, whose buffers have fixed shapes: XLA moves handles.
/// All functions may be called from any thread at any time. A block has a handle above 0 from
/// `put` until `take` or `drop`.
class BlockStore {
 public:
  static std::shared_ptr<BlockStore> create();

  BlockStore(const BlockStore&) = delete;
  BlockStore& operator=(const BlockStore&) = delete;
  ~BlockStore();

  [[nodiscard]] uint32_t id() const { return id_; }

  /// Copies a block or a part of one in and returns its handle.
  uint32_t put(const BlockView& block);

  /// Records the block on this thread and frees its edges. A block is recorded once: throws
  /// std::invalid_argument for a handle that is unknown or was handed to `record` before.
  Status record(uint32_t handle);

  /// Moves the pattern of a recorded block out and forgets the block. Throws std::invalid_argument
  /// for a handle that is unknown or whose recording has not ended with Status::ok.
  LuPattern take(uint32_t handle);

  /// Forgets the block; a handle that is not held is no error.
  void drop(uint32_t handle);

  /// Recordings that run return Status::cancelled soon, and those that start do so at once. A
  /// cancelled store stays cancelled, so that no block slips through after the decision.
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }

  [[nodiscard]] bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  [[nodiscard]] int64_t n_done() const { return n_done_.load(std::memory_order_relaxed); }
  [[nodiscard]] int64_t size() const;

  /// Largest number of blocks that were being recorded at the same moment.
  [[nodiscard]] int32_t max_concurrency() const {
    return max_running_.load(std::memory_order_relaxed);
  }

 private:
  enum class Stage { waiting, running, done };

  struct Entry {
    std::vector<int64_t> row_ptr;
    std::vector<int32_t> col;
    int32_t n_below = 0;
    int32_t n_boundary = 0;
    Stage stage = Stage::waiting;
    Status status = Status::ok;
    LuPattern pattern;
  };

  explicit BlockStore(uint32_t id) : id_(id) {}
  std::shared_ptr<Entry> start(uint32_t handle);

  const uint32_t id_;
  std::atomic<bool> cancelled_{false};
  std::atomic<int64_t> n_done_{0};
  std::atomic<int32_t> n_running_{0};
  std::atomic<int32_t> max_running_{0};
  mutable std::mutex mutex_;  // guards what follows, and stage, status and pattern of each entry
  uint32_t last_handle_ = 0;
  std::unordered_map<uint32_t, std::shared_ptr<Entry>> entries_;
};

}  // namespace phasic_mpi
