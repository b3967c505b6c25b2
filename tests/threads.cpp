// Everything that threads of the core share, used by many of them at once. ThreadSanitizer ends the
// program where two of them touch the same memory unordered; wrong results end it too. A program of
// its own: under Python, JAX's own threads, which are not instrumented, would be reported.
#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "block_store.hpp"
#include "cut.hpp"
#include "factor.hpp"
#include "plan.hpp"
#include "registry.hpp"
#include "shared_tasks.hpp"
#include "solve.hpp"
#include "task_pool.hpp"
#include "trace_view.hpp"

namespace {

using namespace phasic_mpi;

constexpr int kThreads = 4;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what);
  std::exit(1);
}

/// Threads that wait for work, like XLA's.
class Pool {
 public:
  Pool() {
    for (int i = 0; i < kThreads; ++i) threads_.emplace_back([this] { work(); });
  }
  ~Pool() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  [[nodiscard]] static int64_t num_threads() { return kThreads; }

  void Schedule(std::function<void()> job) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    changed_.notify_one();
  }

 private:
  void work() {
    for (;;) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return closed_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      const std::function<void()> job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool closed_ = false;
  std::vector<std::thread> threads_;
};

/// Runs `work` with the number of each thread on several threads at once.
void at_once(const std::function<void(int)>& work) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(work, i);
  for (std::thread& thread : threads) thread.join();
}

/// A square lattice: every vertex leads to its neighbours.
struct Lattice {
  std::vector<int64_t> row_ptr{0};
  std::vector<int32_t> col;

  explicit Lattice(int32_t side) {
    for (int32_t v = 0; v < side * side; ++v) {
      if (v >= side) col.push_back(v - side);
      if (v % side > 0) col.push_back(v - 1);
      if (v % side < side - 1) col.push_back(v + 1);
      if (v < side * (side - 1)) col.push_back(v + side);
      row_ptr.push_back(static_cast<int64_t>(col.size()));
    }
  }
  [[nodiscard]] BlockView view() const { return {row_ptr, col}; }
};

/// Blocks are put in, recorded, taken and dropped by all threads, while stores come and go.
void use_stores() {
  const Lattice lattice(12);
  const std::shared_ptr<BlockStore> shared = BlockStore::create();
  std::atomic<uint32_t> published{0};
  at_once([&](int) {
    for (int round = 0; round < 40; ++round) {
      const uint32_t handle = shared->put(lattice.view());
      require(shared->record(handle) == Status::ok, "a block was not recorded");
      published = handle;
      require(shared->take(handle).order.size() == 144, "a pattern has another size");
      try {
        shared->record(published);  // of any thread, recorded or taken meanwhile
        require(false, "a block was recorded twice");
      } catch (const std::invalid_argument&) {
      }
      const std::shared_ptr<BlockStore> own = BlockStore::create();
      require(Registry<BlockStore>::instance().find(own->id()) == own, "a store is lost");
      require(shared->size() >= 0 && shared->max_concurrency() > 0, "the counts are wrong");
    }
  });
  require(shared->n_done() >= 40 * kThreads, "recordings were not counted");
}

/// A store is cancelled while all threads record in it.
void cancel_stores() {
  const Lattice lattice(40);
  for (int round = 0; round < 10; ++round) {
    const std::shared_ptr<BlockStore> store = BlockStore::create();
    at_once([&](int number) {
      const uint32_t handle = store->put(lattice.view());
      if (number == 0) return store->cancel();
      const Status status = store->record(handle);
      require(status == Status::ok || status == Status::cancelled, "neither done nor cancelled");
      store->drop(handle);
    });
    require(store->record(store->put(lattice.view())) == Status::cancelled, "not cancelled");
  }
}

/// Tasks are done once each, whether helpers come early, late or when all is over, or throw.
void share_tasks(Pool& pool) {
  for (size_t n_tasks = 0; n_tasks < 300; ++n_tasks) {
    const auto done = std::make_shared<std::vector<int>>(n_tasks, 0);
    const std::string problem = run_tasks(pool, kThreads + 1, n_tasks, [done](size_t task) {
      ++(*done)[task];
      if (task % 100 == 99) throw std::runtime_error("task 99");
    });
    require(std::ranges::count(*done, 1) == static_cast<std::ptrdiff_t>(n_tasks),
            "a task was not done once");
    require(problem == (n_tasks > 99 ? "task 99" : ""), "a problem is lost");
  }
}

/// Tasks lead to tasks and are all done once; one that fails or throws ends them, with its word.
void lead_to_tasks() {
  for (const size_t n_threads : {1, 2, kThreads}) {
    TaskPool pool(n_threads);
    std::vector<int> done(1000, 0);
    const std::function<Status(size_t)> halve = [&](size_t task) {
      for (const size_t next : {2 * task + 1, 2 * task + 2}) {
        if (next < done.size()) pool.add([&, next](size_t) { return halve(next); });
      }
      ++done[task];
      return Status::ok;
    };
    for (int round = 1; round <= 20; ++round) {
      pool.add([&](size_t thread) {
        require(thread < n_threads, "a thread has no such number");
        return halve(0);
      });
      require(pool.run() == Status::ok, "tasks have failed");
      require(std::ranges::count(done, round) == std::ssize(done), "a task was not done once");
      pool.add([](size_t) { return Status::cancelled; });
      require(pool.run() == Status::cancelled, "a failure is lost");
      pool.add([](size_t) -> Status { throw std::runtime_error("task"); });
      try {
        pool.run();
        require(false, "an exception is lost");
      } catch (const std::runtime_error&) {
      }
      require(pool.run() == Status::ok, "what has ended goes on");
    }
  }
}

/// Threads that cut a block together make the parts that one makes.
void cut_together() {
  const Lattice lattice(60);
  const std::atomic<bool> never{false};
  std::vector<Part> alone;
  require(cut(lattice.view(), 50, never, 1, alone) == Status::ok, "the lattice is not cut");
  for (int round = 0; round < 5; ++round) {
    std::vector<Part> parts;
    require(cut(lattice.view(), 50, never, kThreads, parts) == Status::ok, "no parts");
    const auto equal = [](const Part& a, const Part& b) {
      return a.row_ptr == b.row_ptr && a.col == b.col && a.vertex == b.vertex;
    };
    require(std::ranges::equal(parts, alone, equal), "other threads, other parts");
    std::vector<int32_t> order;
    require(cut_or_order(lattice.view(), never, kThreads, parts, order) == Status::ok &&
                parts.empty() != order.empty(),
            "neither parts nor an order");
  }
}

/// One recorded block with exits, and a plan that eliminates it in dense panels on all threads.
struct Recorded {
  LuPattern pattern;
  std::vector<int64_t> block_ptr, value_ptr, pattern_ptr, off_ptr, weight_slot;
  std::vector<int32_t> block_pattern{0};
  std::shared_ptr<const Plan> plan;

  [[nodiscard]] TraceView trace() const {
    return {block_ptr,       block_pattern,     value_ptr,   pattern_ptr, pattern.order,
            pattern.row_ptr, pattern.upper_ptr, pattern.col, off_ptr,     {}};
  }

  explicit Recorded(const Lattice& lattice) {
    const std::atomic<bool> never{false};
    require(record(lattice.view(), never, pattern) == Status::ok, "the lattice is not recorded");
    const auto n = static_cast<int64_t>(pattern.order.size());
    const auto n_entries = static_cast<int64_t>(pattern.col.size());
    block_ptr = pattern_ptr = {0, n};
    value_ptr = {0, n_entries};
    off_ptr.assign(pattern.order.size() + 1, 0);
    weight_slot = pattern.edge_slot;
    std::ranges::sort(weight_slot);
    for (int64_t position = 0; position < n; position += 7) {
      weight_slot.push_back(n_entries + position);
    }
    require(is_valid(trace()), "the trace is not valid");
    plan = std::make_shared<const Plan>(trace(), weight_slot, Plan::Purpose::batches,
                                        Plan::Supernodes::all, 2);
  }
};

/// Solutions for `n_theta` rows of weights; with a pool on all its threads.
std::vector<double> solve(const Recorded& recorded, int64_t n_theta, bool transposed, Pool* pool) {
  const std::shared_ptr<const Plan>& plan = recorded.plan;
  const size_t n = plan->n_transient();
  const auto rows = static_cast<size_t>(n_theta);
  std::vector<double> weight(rows * plan->n_weights());
  for (size_t i = 0; i < weight.size(); ++i) weight[i] = 1.0 + static_cast<double>(i % 17);
  const std::vector<double> none(n, 0.0);
  const std::vector<double> ones(n, 1.0);
  std::vector<double> solution(rows * n);
  const Systems<double> systems{{n_theta},
                                1,
                                {weight.data(), {static_cast<int64_t>(plan->n_weights())}},
                                {none.data(), {0}},
                                {none.data(), {0}},
                                {ones.data(), {0}},
                                {solution.data(), {static_cast<int64_t>(n)}}};
  const auto solver = std::make_shared<BatchSolver<double>>(plan, systems, transposed);
  if (pool == nullptr) {
    for (size_t task = 0; task < solver->n_tasks(); ++task) solver->run(task);
  } else {
    const std::string problem = run_tasks(*pool, kThreads + 1, solver->n_tasks(),
                                          [solver](size_t task) { solver->run(task); });
    require(problem.empty(), problem.c_str());
  }
  return solution;
}

/// One theta is shared between the threads block by block, several are dealt out, and calls of
/// several threads share a plan.
void solve_together(Pool& pool) {
  const Recorded recorded(Lattice(24));
  for (const int64_t n_theta : {1, 40}) {
    for (const bool transposed : {false, true}) {
      const std::vector<double> alone = solve(recorded, n_theta, transposed, nullptr);
      at_once([&](int) {
        for (int round = 0; round < 3; ++round) {
          require(solve(recorded, n_theta, transposed, &pool) == alone,
                  "other threads, other bits");
        }
      });
    }
  }
}

/// Factors that are kept share a plan, its memory and what they know of it.
void keep_factors() {
  const Recorded recorded(Lattice(24));
  for (const auto supernodes : {Plan::Supernodes::all, Plan::Supernodes::none}) {
    const auto plan = std::make_shared<const Plan>(recorded.trace(), recorded.weight_slot,
                                                   Plan::Purpose::factors, supernodes, 2);
    const std::vector<double> weight(plan->n_weights(), 1.0);
    const auto solution = [&](size_t n_threads) {
      Factor factor(plan, weight);
      require(factor.factor(n_threads) == Factor::kDone, "a vertex cannot be left");
      std::vector<double> x(plan->n_transient(), 1.0);
      factor.solve(x);
      return x;
    };
    const std::vector<double> alone = solution(1);
    at_once([&](int) {
      for (int round = 0; round < 3; ++round) {
        require(solution(3) == alone, "other threads, other bits");
      }
    });
  }
}

/// Plans are found by number while their owner lets go of them.
void find_plans() {
  const Recorded recorded(Lattice(6));
  auto& plans = Registry<const Plan>::instance();
  std::atomic<uint32_t> published{0};
  at_once([&](int) {
    for (int round = 0; round < 200; ++round) {
      const uint32_t id = plans.new_id();
      auto own = std::make_shared<const Plan>(recorded.trace(), recorded.weight_slot,
                                              Plan::Purpose::batches, Plan::Supernodes::by_cost, 1);
      plans.add(id, own);
      published = id;
      const std::shared_ptr<const Plan> found = plans.find(published);
      require(found == nullptr || found->n_transient() == 36, "another plan was found");
      plans.remove(id);
    }
  });
}

}  // namespace

int main() {
  Pool pool;
  use_stores();
  cancel_stores();
  share_tasks(pool);
  lead_to_tasks();
  cut_together();
  solve_together(pool);
  keep_factors();
  find_plans();
  std::puts("done");
  return 0;
}
