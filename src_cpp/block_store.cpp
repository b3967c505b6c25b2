#include "block_store.hpp"

#include <stdexcept>
#include <string>
#include <utility>

#include "registry.hpp"

namespace phasic_mpi {
namespace {

std::invalid_argument bad_handle(uint32_t handle, const char* problem) {
  return std::invalid_argument("block handle " + std::to_string(handle) + ": " + problem);
}

}  // namespace

std::shared_ptr<BlockStore> BlockStore::create() {
  auto& all = Registry<BlockStore>::instance();
  const uint32_t id = all.new_id();
  std::shared_ptr<BlockStore> store(new BlockStore(id));
  all.add(id, store);
  return store;
}

BlockStore::~BlockStore() { Registry<BlockStore>::instance().remove(id_); }

uint32_t BlockStore::put(const BlockView& block) {
  auto entry = std::make_shared<Entry>();
  entry->row_ptr.assign(block.row_ptr.begin(), block.row_ptr.end());
  entry->col.assign(block.col.begin(), block.col.end());
  entry->n_below = block.n_below;
  entry->n_boundary = block.n_boundary;
  const std::lock_guard lock(mutex_);
  const uint32_t handle = next_number(last_handle_, "blocks of one store");
  entries_.emplace(handle, std::move(entry));
  return handle;
}

std::shared_ptr<BlockStore::Entry> BlockStore::start(uint32_t handle) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(handle);
  if (found == entries_.end()) throw bad_handle(handle, "no such block is held");
  if (found->second->stage != Stage::waiting) throw bad_handle(handle, "is recorded already");
  found->second->stage = Stage::running;
  return found->second;
}

Status BlockStore::record(uint32_t handle) {
  const std::shared_ptr<Entry> entry = start(handle);
  const int32_t running = n_running_.fetch_add(1, std::memory_order_relaxed) + 1;
  int32_t seen = max_concurrency();
  while (seen < running && !max_running_.compare_exchange_weak(seen, running)) {
  }

  // Into locals, so that no lock is held for the long part and the edges go when it ends.
  const std::vector<int64_t> row_ptr = std::move(entry->row_ptr);
  const std::vector<int32_t> col = std::move(entry->col);
  LuPattern pattern;
  const BlockView block{row_ptr, col, entry->n_below, entry->n_boundary};
  const Status status =
      cancelled() ? Status::cancelled : phasic_mpi::record(block, cancelled_, pattern);

  n_running_.fetch_sub(1, std::memory_order_relaxed);
  n_done_.fetch_add(1, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  entry->stage = Stage::done;
  entry->status = status;
  if (status == Status::ok) entry->pattern = std::move(pattern);
  return status;
}

LuPattern BlockStore::take(uint32_t handle) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(handle);
  if (found == entries_.end()) throw bad_handle(handle, "no such block is held");
  Entry& entry = *found->second;
  if (entry.stage != Stage::done || entry.status != Status::ok) {
    throw bad_handle(handle, "is not recorded");
  }
  LuPattern pattern = std::move(entry.pattern);
  entries_.erase(found);
  return pattern;
}

void BlockStore::drop(uint32_t handle) {
  const std::lock_guard lock(mutex_);
  entries_.erase(handle);
}

int64_t BlockStore::size() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(entries_.size());
}

}  // namespace phasic_mpi
