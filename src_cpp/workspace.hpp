// Memory that outlives a call, so that calls neither allocate nor touch new pages.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace phasic_mpi {

/// Arrays one after another, each on cache lines of its own. Made without memory it only counts.
class Workspace {
 public:
  struct alignas(64) Line {
    std::byte bytes[64];
  };

  Workspace() = default;
  explicit Workspace(Line* memory) : memory_(memory) {}

  /// The next array; holds what was there before.
  template <class T>
  T* take(size_t count) {
    Line* const begin = memory_ == nullptr ? nullptr : memory_ + n_lines_;
    n_lines_ += (count * sizeof(T) + sizeof(Line) - 1) / sizeof(Line);
    return reinterpret_cast<T*>(begin);
  }

  [[nodiscard]] size_t n_lines() const { return n_lines_; }

 private:
  Line* memory_ = nullptr;
  size_t n_lines_ = 0;
};

/// Blocks of memory for as many threads as have worked at once.
class WorkspacePool {
 public:
  using Memory = std::vector<Workspace::Line>;

  /// At least `n_lines`, zero or what it held when it was given back.
  Memory take(size_t n_lines) {
    Memory memory;
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        memory = std::move(idle_.back());
        idle_.pop_back();
      }
    }
    if (memory.size() < n_lines) {
      memory = Memory();  // before there is more
      memory = Memory(n_lines);
    }
    return memory;
  }

  void give_back(Memory memory) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(memory));
  }

 private:
  std::mutex mutex_;
  std::vector<Memory> idle_;
};

}  // namespace phasic_mpi
