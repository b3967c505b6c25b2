// Work that the threads of a pool do together with the one that asks for it.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace phasic_mpi {

/// Tasks that several threads work off together. It is shared with a pool, which may begin a helper
/// after the call has returned: such a helper finds no task left and touches nothing else.
class SharedTasks {
 public:
  SharedTasks(size_t n_tasks, std::function<void(size_t)> run)
      : n_tasks_(n_tasks), run_(std::move(run)), n_left_(n_tasks) {}

  /// Does tasks that no other thread has claimed until there are none.
  void work() {
    for (size_t task = next_++; task < n_tasks_; task = next_++) {
      try {
        run_(task);
      } catch (const std::exception& exc) {
        const std::lock_guard lock(mutex_);
        problem_ = exc.what();
      }
      if (--n_left_ == 0) n_left_.notify_all();
    }
  }

  /// Waits for tasks only, each of which a running thread has claimed: helpers that the pool has
  /// not begun cannot block it, even if all its threads stand here.
  void wait() const {
    for (size_t left = n_left_.load(); left != 0; left = n_left_.load()) n_left_.wait(left);
  }

  /// After `wait`: what the last task that failed threw.
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  const size_t n_tasks_;
  const std::function<void(size_t)> run_;
  std::atomic<size_t> next_{0};
  std::atomic<size_t> n_left_;
  std::mutex mutex_;
  std::string problem_;
};

/// Does all tasks on this thread and up to `n_threads` - 1 of the pool, begun in ascending order.
/// Returns what a task threw, or nothing. `run` owns what it touches. A pool has `num_threads` and
/// `Schedule`, as XLA's has.
template <class Pool>
std::string run_tasks(Pool& pool, int64_t n_threads, size_t n_tasks,
                      std::function<void(size_t)> run) {
  const auto tasks = std::make_shared<SharedTasks>(n_tasks, std::move(run));
  const int64_t n_workers =
      std::min({n_threads, pool.num_threads() + 1, static_cast<int64_t>(n_tasks)});
  for (int64_t helper = 1; helper < n_workers; ++helper) {
    pool.Schedule([tasks] { tasks->work(); });
  }
  tasks->work();
  tasks->wait();
  return tasks->problem();
}

}  // namespace phasic_mpi
