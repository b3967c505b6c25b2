// Threads that help another one with parts of its work.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>

namespace phasic_mpi {

/// One thread leads and shares work now and then; others help until they are dismissed. Helpers
/// may come late or not at all.
class Crew {
 public:
  /// Runs `work` here and on every helper that is there before it returns here; then waits for
  /// those. `work` must not throw once it has claimed a part that others wait for.
  void share(const std::function<void()>& work) {
    {
      const std::lock_guard lock(mutex_);
      work_ = &work;
      ++round_;
    }
    changed_.notify_all();
    const Closing closing{*this};
    work();
  }

  /// Helps until there is no more to do.
  void help() {
    std::unique_lock lock(mutex_);
    for (size_t done = 0;;) {
      changed_.wait(lock, [&] { return dismissed_ || (work_ != nullptr && round_ != done); });
      if (dismissed_) return;
      done = round_;
      const std::function<void()>& work = *work_;
      ++n_helping_;
      lock.unlock();
      {
        const Helping helping{*this};
        work();
      }
      lock.lock();
    }
  }

  void dismiss() {
    const std::lock_guard lock(mutex_);
    dismissed_ = true;
    changed_.notify_all();
  }

 private:
  struct Closing {
    Crew& crew;
    ~Closing() {
      std::unique_lock lock(crew.mutex_);
      crew.work_ = nullptr;
      crew.changed_.wait(lock, [&] { return crew.n_helping_ == 0; });
    }
  };
  struct Helping {
    Crew& crew;
    ~Helping() {
      const std::lock_guard lock(crew.mutex_);
      --crew.n_helping_;
      crew.changed_.notify_all();
    }
  };

  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void()>* work_ = nullptr;
  size_t round_ = 0;
  size_t n_helping_ = 0;
  bool dismissed_ = false;
};

/// Lets helpers go, whatever happens.
struct Dismissal {
  Crew& crew;
  ~Dismissal() { crew.dismiss(); }
};

}  // namespace phasic_mpi
