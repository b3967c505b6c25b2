#include "factor.hpp"

#include <atomic>
#include <future>

#include "lanes.hpp"
#include "pivots.hpp"

namespace phasic_mpi {
namespace {

// Memory of factors from which several threads are worth starting: about a millisecond.
constexpr size_t kSharedLines = size_t{1} << 15;

constexpr auto kFetchNothing = [] {};

bool is_shared(const Plan::Block& block) {
  return block.supernodes != nullptr && block.supernodes->is_shared();
}

}  // namespace

Factor::Factor(std::shared_ptr<const Plan> plan, std::span<const double> weight)
    : plan_(std::move(plan)), weight_(weight), single_(plan_->n_vertices()), first_line_{0} {
  Workspace counter;
  for (const Plan::Block& block : blocks()) {
    BlockFactor<double, 1>().place(counter, Plan::sizes_of(block), nullptr);
    first_line_.push_back(counter.n_lines());
  }
  memory_ = plan_->workspaces().take(counter.n_lines());
}

std::span<const Plan::Block> Factor::blocks() const {
  return plan_->way(BlockFactor<double, 1>::kUse).blocks;
}

BlockFactor<double, 1> Factor::block_factor(size_t index) {
  const Plan::Block& block = blocks()[index];
  Workspace workspace(memory_.data() + first_line_[index]);
  BlockFactor<double, 1> factor;
  factor.place(workspace, Plan::sizes_of(block), single_.data() + own(block.first));
  return factor;
}

/// Calls `visit` with each position of a block, and the ends and weights of its edges to others.
template <class Visit>
void Factor::visit_off(const Plan::Block& block, const Visit& visit) const {
  const std::span<const int64_t> off_ptr = plan_->off_ptr();
  const double* off = weight_.data() + block.off_weight;
  for (int64_t p = block.first; p < block.first + block.n; ++p) {
    const int64_t begin = off_ptr[own(p)];
    const int64_t count = off_ptr[own(p) + 1] - begin;
    visit(p, plan_->off_col().subspan(at(begin - off_ptr.front()), at(count)), off);
    off += count;
  }
}

/// A thread that factors blocks, with memory of its own.
class Factor::Worker {
 public:
  Worker(Factor& factor, Crew& crew)
      : factor_(factor),
        crew_(crew),
        carried_(factor.plan_->way(Plan::Use::one).sizes.vertices),
        unread_(carried_.size()) {}

  void run(size_t index) {
    const Plan::Block& block = factor_.blocks()[index];
    leave(block);
    BlockFactor<double, 1> own = factor_.block_factor(index);
    own.clear(Plan::sizes_of(block));
    const double* const edge = factor_.weight_.data() + block.edge_weight;
    run_vectorised<true>([&](auto fused) {
      if (own.takes_edges(block)) {
        own.begin_edges(block);
        for (size_t i = 0; i < at(block.n_edges); ++i) own.put_edge(block, i, edge[i]);
      }
      Pivots<double, 1> pivots;  // pivots are looked at once all are there
      own.factor<fused>(block, edge, carried_.data(), unread_.data(), pivots, crew_, kFetchNothing);
    });
  }

 private:
  /// Carries along nothing but the rates of leaving the block.
  void leave(const Plan::Block& block) {
    const Plan& plan = *factor_.plan_;
    const std::span<const int64_t> off_ptr = plan.off_ptr();
    const double* const weight = factor_.weight_.data();
    const double* off = weight + block.off_weight;
    for (int64_t v = 0; v < block.n; ++v) {
      const size_t p = factor_.own(block.first + v);
      double rate = plan.exit_weight()[p] < 0 ? 0.0 : weight[plan.exit_weight()[p]];
      for (int64_t e = off_ptr[p]; e < off_ptr[p + 1]; ++e) rate += *off++;
      carried_[at(v)] = {rate, 0.0};
    }
  }

  Factor& factor_;
  Crew& crew_;
  std::vector<Carried<double, 1>> carried_;
  std::vector<double> unread_;
};

int64_t Factor::factor(size_t n_threads) {
  Crew crew;
  std::vector<std::future<void>> helpers;
  {
    const Dismissal dismissal{crew};
    if (first_line_.back() >= kSharedLines) {
      while (helpers.size() + 1 < n_threads) {
        helpers.push_back(std::async(std::launch::async, &Crew::help, &crew));
      }
    }
    factor_all(crew);
  }
  for (std::future<void>& helper : helpers) helper.get();  // throws what it has thrown
  return first_illegal();
}

/// No block waits for another: first each thread takes those that it factors alone, then all
/// threads together take one large block after the other.
void Factor::factor_all(Crew& crew) {
  std::atomic<size_t> next{0};
  crew.share([&] {
    Worker worker(*this, crew);
    for (size_t b = next++; b < blocks().size(); b = next++) {
      if (!is_shared(blocks()[b])) worker.run(b);
    }
  });
  Worker worker(*this, crew);
  for (size_t b = 0; b < blocks().size(); ++b) {
    if (is_shared(blocks()[b])) worker.run(b);
  }
}

int64_t Factor::first_illegal() {
  for (size_t b = 0; b < blocks().size(); ++b) {
    const int32_t vertex = block_factor(b).first_illegal(blocks()[b]);
    if (vertex >= 0) return blocks()[b].first + vertex;
  }
  return kDone;
}

void Factor::solve(std::span<double> x) {
  run_vectorised<true>([&](auto fused) {
    for (size_t b = blocks().size(); b-- > 0;) {
      const Plan::Block& block = blocks()[b];
      visit_off(block, [&](int64_t p, std::span<const int32_t> col, const double* off) {
        double sum = x[at(p)];
        for (const int32_t c : col) sum += x[at(c)] * *off++;
        x[at(p)] = sum;
      });
      const BlockFactor<double, 1> own = block_factor(b);
      own.forward<fused>(block, x.data() + block.first);
      own.backward(block, x.data() + block.first, kFetchNothing);
    }
  });
}

void Factor::solve_transposed(std::span<double> x) {
  run_vectorised<true>([&](auto) {
    for (size_t b = 0; b < blocks().size(); ++b) {
      const Plan::Block& block = blocks()[b];
      block_factor(b).transposed(block, x.data() + block.first);
      visit_off(block, [&](int64_t p, std::span<const int32_t> col, const double* off) {
        for (const int32_t c : col) x[at(c)] += x[at(p)] * *off++;
      });
    }
  });
}

}  // namespace phasic_mpi
