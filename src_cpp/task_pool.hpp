// Tasks that lead to other tasks, done by several threads.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <future>
#include <mutex>
#include <utility>
#include <vector>

#include "status.hpp"

namespace phasic_mpi {

class TaskPool {
 public:
  /// Gets the number of the thread that does it, below `n_threads`.
  using Task = std::function<Status(size_t)>;

  explicit TaskPool(size_t n_threads) : n_threads_(n_threads) {}

  [[nodiscard]] size_t n_threads() const { return n_threads_; }

  /// Leaves a task to whoever is free. Tasks may call this.
  void add(Task task) {
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(std::move(task));
    }
    changed_.notify_one();
  }

  /// Does all tasks, the latest first, on this thread and others that it starts. Once one is not
  /// ok, no other is begun, and its status is returned, or what it has thrown is thrown.
  Status run() {
    status_ = Status::ok;
    problem_ = nullptr;
    {
      std::vector<std::future<void>> others;  // whose destructors wait
      for (size_t thread = 1; thread < n_threads_; ++thread) {
        others.push_back(std::async(std::launch::async, &TaskPool::work, this, thread));
      }
      work(0);
    }
    waiting_.clear();
    if (problem_) std::rethrow_exception(problem_);
    return status_;
  }

 private:
  void work(size_t thread) {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return !waiting_.empty() || n_running_ == 0 || has_failed(); });
      if (waiting_.empty() || has_failed()) return;
      const Task task = std::move(waiting_.back());
      waiting_.pop_back();
      ++n_running_;
      lock.unlock();
      Status status = Status::ok;
      std::exception_ptr problem;
      try {
        status = task(thread);
      } catch (...) {
        problem = std::current_exception();
      }
      lock.lock();
      if (!has_failed()) {
        status_ = status;
        problem_ = problem;
      }
      if (--n_running_ == 0 || has_failed()) changed_.notify_all();
    }
  }

  [[nodiscard]] bool has_failed() const { return status_ != Status::ok || problem_; }

  const size_t n_threads_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Task> waiting_;
  size_t n_running_ = 0;
  Status status_ = Status::ok;
  std::exception_ptr problem_;
};

}  // namespace phasic_mpi
