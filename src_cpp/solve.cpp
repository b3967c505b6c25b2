#include "solve.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "lanes.hpp"

namespace phasic_mpi {
namespace {

PHASIC_MPI_INLINE constexpr size_t at(int64_t index) { return static_cast<size_t>(index); }

template <class T>
T* element(const Operand<T>& operand, const std::vector<int64_t>& factor,
           const std::vector<int64_t>& right) {
  int64_t offset = 0;
  for (size_t d = 0; d < operand.stride.size(); ++d) {
    offset += operand.stride[d] * (factor[d] + right[d]);
  }
  return operand.data + offset;
}

/// Systems of up to `n` factorisations, one per lane, by the operations of `Lanes<T, n>`.
template <class T, size_t n>
class Group {
  using Lane = Lanes<T, n>;
  using Real = typename Lane::Real;
  using Value = typename Lane::Value;

 public:
  struct Arrays {
    std::array<const double*, n> weight;
    std::array<const T*, n> shift;
    std::vector<std::array<const T*, n>> multiplier;  // per right-hand side
    std::vector<std::array<const T*, n>> rhs;
    std::vector<std::array<T*, n>> solution;
  };

  Group(const Plan& plan, int64_t n_steps, const Arrays& arrays)
      : plan_(plan),
        trace_(plan.trace()),
        n_steps_(n_steps),
        n_(static_cast<int64_t>(plan.n_transient())),
        arrays_(arrays),
        entry_(at(plan.most_entries())),
        inverse_(at(plan.largest_block())),
        escape_(at(plan.largest_block())),
        row_(at(plan.largest_block())),
        x_(arrays.rhs.size() * at(n_steps * n_)) {}

  PHASIC_MPI_INLINE void solve() {
    load();
    for (size_t b = plan_.n_blocks(); b-- > 0;) {
      const Plan::Block block = plan_.block(b);
      factor(block);
      for (size_t right = 0; right < arrays_.rhs.size(); ++right) {
        for (int64_t step = 0; step < n_steps_; ++step) solve_block(block, right, step);
      }
    }
    store();
  }

  PHASIC_MPI_INLINE void solve_transposed() {
    load();
    for (size_t b = 0; b < plan_.n_blocks(); ++b) {
      const Plan::Block block = plan_.block(b);
      factor(block);
      for (size_t right = 0; right < arrays_.rhs.size(); ++right) {
        for (int64_t step = n_steps_; step-- > 0;) solve_block_transposed(block, right, step);
      }
    }
    store();
  }

 private:
  PHASIC_MPI_INLINE Real weight(int64_t index) const {
    return Lanes<double, n>::load(arrays_.weight, at(index));
  }

  PHASIC_MPI_INLINE Real checked_weight(int64_t index) {
    const Real out = weight(index);
    poison_.meet(out);
    return out;
  }

  [[nodiscard]] PHASIC_MPI_INLINE int64_t position(const Plan::Block& block, int64_t i) const {
    return block.row < 0 ? block.first : block.first + trace_.order[at(block.row + i)];
  }

  [[nodiscard]] PHASIC_MPI_INLINE Value* solution(size_t right, int64_t step) {
    return x_.data() + (right * at(n_steps_) + at(step)) * at(n_);
  }

  PHASIC_MPI_INLINE void load() {
    for (size_t right = 0; right < arrays_.rhs.size(); ++right) {
      Value* const x = solution(right, 0);
      for (size_t i = 0; i < at(n_steps_ * n_); ++i) {
        x[i] = Lane::load(arrays_.rhs[right], i);
      }
    }
  }

  PHASIC_MPI_INLINE void store() {
    for (size_t right = 0; right < arrays_.rhs.size(); ++right) {
      Value* const x = solution(right, 0);
      for (size_t i = 0; i < at(n_steps_ * n_); ++i) {
        Value value = x[i];
        value += poison_.value();
        Lane::store(value, arrays_.solution[right], i);
      }
    }
  }

  /// Rate of leaving the block from a position, the shift included.
  PHASIC_MPI_INLINE Value leaving(int64_t position) {
    Value rate = Lane::load(arrays_.shift, at(position));
    const int32_t exit = plan_.exit_weight()[at(position)];
    if (exit >= 0) rate += checked_weight(exit);
    for (int64_t e = trace_.off_ptr[at(position)]; e < trace_.off_ptr[at(position) + 1]; ++e) {
      rate += checked_weight(plan_.first_off_weight() + e);
    }
    return rate;
  }

  PHASIC_MPI_INLINE void finish_row(int64_t i, const Value& escape, const Value& pivot) {
    poison_.meet(Lane::magnitude(pivot) - kSmallest);
    escape_[at(i)] = escape;
    inverse_[at(i)] = Lane::inverse(pivot);
  }

  PHASIC_MPI_INLINE void factor(const Plan::Block& block) {
    if (block.row < 0) {
      const Value pivot = leaving(block.first);
      finish_row(0, pivot, pivot);
      return;
    }
    const int64_t base = trace_.row_ptr[at(block.row)];
    const int64_t first_edge = plan_.edge_ptr()[at(block.row)];
    const int32_t* const col = trace_.col.data();
    for (int64_t i = 0; i < block.n; ++i) {
      const size_t row = at(block.row + i);
      for (int64_t e = plan_.edge_ptr()[row]; e < plan_.edge_ptr()[row + 1]; ++e) {
        Value& entry = row_[at(plan_.edge_col()[at(e)])];
        entry = Value{};
        entry += checked_weight(block.weight + e - first_edge);
      }
      Value escape = leaving(position(block, i));
      const int64_t middle = trace_.upper_ptr[row];
      for (int64_t e = trace_.row_ptr[row]; e < middle;) {
        // Having met row k of a supernode, the elimination has filled in all its later columns.
        const int64_t k = col[e];
        const int64_t together = std::min<int64_t>(plan_.chain_end()[at(block.row + k)], i) - k;
        if (together >= 4) {
          eliminate<4>(block, base, k, e, escape);
          e += 4;
        } else if (together >= 2) {
          eliminate<2>(block, base, k, e, escape);
          e += 2;
        } else {
          eliminate<1>(block, base, k, e, escape);
          e += 1;
        }
      }
      // A jump back to i has been added up at row_[i]: GTH leaves it out.
      row_[at(i)] = Value{};
      Value pivot = escape;
      for (int64_t e = middle; e < trace_.row_ptr[row + 1]; ++e) {
        Value& rate = row_[at(col[e])];
        entry_[at(e - base)] = rate;
        pivot += rate;
        rate = Value{};
      }
      finish_row(i, escape, pivot);
    }
  }

  /// Jumps from the row in `row_` to vertices k..k + together - 1 go on along their rows of U,
  /// which share their columns beyond the last of them.
  template <int64_t together>
  PHASIC_MPI_INLINE void eliminate(const Plan::Block& block, int64_t base, int64_t k, int64_t e,
                                   Value& escape) {
    std::array<Value, at(together)> multiplier;
    std::array<const Value*, at(together)> upper;
    for (int64_t j = 0; j < together; ++j) {
      Value& entry = row_[at(k + j)];
      multiplier[at(j)] = entry * inverse_[at(k + j)];
      entry = Value{};
      entry_[at(e + j - base)] = multiplier[at(j)];
      escape += multiplier[at(j)] * escape_[at(k + j)];
      upper[at(j)] = entry_.data() + (trace_.upper_ptr[at(block.row + k + j)] - base);
      for (int64_t later = j + 1; later < together; ++later) {
        row_[at(k + later)] += multiplier[at(j)] * *upper[at(j)]++;
      }
    }
    const size_t last = at(block.row + k + together - 1);
    const int32_t* const col = trace_.col.data() + trace_.upper_ptr[last];
    const auto count = trace_.row_ptr[last + 1] - trace_.upper_ptr[last];
    Value* const row_values = row_.data();
    for (int64_t c = 0; c < count; ++c) {
      Value sum = row_values[col[c]];
      for (size_t j = 0; j < at(together); ++j) sum += multiplier[j] * upper[j][c];
      row_values[col[c]] = sum;
    }
  }

  /// What the solution of another step adds to a right-hand side.
  PHASIC_MPI_INLINE Value coupled(size_t right, int64_t multiplier, int64_t step, int64_t p) {
    return Lane::load(arrays_.multiplier[right], at(multiplier * n_ + p)) *
           solution(right, step)[p];
  }

  PHASIC_MPI_INLINE void solve_block(const Plan::Block& block, size_t right, int64_t step) {
    Value* const x = solution(right, step);
    const int64_t base = block.row < 0 ? 0 : trace_.row_ptr[at(block.row)];
    const int32_t* const col = trace_.col.data();
    for (int64_t i = 0; i < block.n; ++i) {
      const int64_t p = position(block, i);
      Value sum = x[p];
      if (step > 0) sum += coupled(right, step - 1, step - 1, p);
      for (int64_t e = trace_.off_ptr[at(p)]; e < trace_.off_ptr[at(p) + 1]; ++e) {
        sum += x[trace_.off_col[at(e)]] * weight(plan_.first_off_weight() + e);
      }
      if (block.row >= 0) {
        const size_t row = at(block.row + i);
        for (int64_t e = trace_.row_ptr[row]; e < trace_.upper_ptr[row]; ++e) {
          sum += entry_[at(e - base)] * row_[at(col[e])];
        }
      }
      row_[at(i)] = sum;
    }
    for (int64_t i = block.n; i-- > 0;) {
      Value sum = row_[at(i)];
      if (block.row >= 0) {
        const size_t row = at(block.row + i);
        for (int64_t e = trace_.upper_ptr[row]; e < trace_.row_ptr[row + 1]; ++e) {
          sum += entry_[at(e - base)] * row_[at(col[e])];
        }
      }
      row_[at(i)] = sum * inverse_[at(i)];
      x[position(block, i)] = row_[at(i)];
    }
    std::fill_n(row_.begin(), block.n, Value{});
  }

  PHASIC_MPI_INLINE void solve_block_transposed(const Plan::Block& block, size_t right,
                                                int64_t step) {
    Value* const x = solution(right, step);
    const int64_t base = block.row < 0 ? 0 : trace_.row_ptr[at(block.row)];
    const int32_t* const col = trace_.col.data();
    for (int64_t i = 0; i < block.n; ++i) {
      const int64_t p = position(block, i);
      row_[at(i)] = x[p];
      if (step + 1 < n_steps_) row_[at(i)] += coupled(right, step, step + 1, p);
    }
    for (int64_t i = 0; i < block.n; ++i) {
      row_[at(i)] = row_[at(i)] * inverse_[at(i)];
      if (block.row < 0) continue;
      const size_t row = at(block.row + i);
      for (int64_t e = trace_.upper_ptr[row]; e < trace_.row_ptr[row + 1]; ++e) {
        row_[at(col[e])] += entry_[at(e - base)] * row_[at(i)];
      }
    }
    for (int64_t i = block.n; i-- > 0;) {
      if (block.row >= 0) {
        const size_t row = at(block.row + i);
        for (int64_t e = trace_.row_ptr[row]; e < trace_.upper_ptr[row]; ++e) {
          row_[at(col[e])] += entry_[at(e - base)] * row_[at(i)];
        }
      }
      const int64_t p = position(block, i);
      x[p] = row_[at(i)];
      for (int64_t e = trace_.off_ptr[at(p)]; e < trace_.off_ptr[at(p) + 1]; ++e) {
        x[trace_.off_col[at(e)]] += x[p] * weight(plan_.first_off_weight() + e);
      }
    }
    std::fill_n(row_.begin(), block.n, Value{});
  }

  // Smallest normal number: the reciprocal of anything smaller may overflow.
  static constexpr double kSmallest = std::numeric_limits<double>::min();

  const Plan& plan_;
  const TraceView& trace_;
  int64_t n_steps_;
  int64_t n_;
  const Arrays& arrays_;
  Poison<n> poison_;            // lanes that have no solution
  std::vector<Value> entry_;    // L and U of the block at hand
  std::vector<Value> inverse_;  // of its pivots
  std::vector<Value> escape_;   // its exit column
  std::vector<Value> row_;      // accumulator, zero between rows
  std::vector<Value> x_;
};

PHASIC_MPI_VECTORISED void run(Group<double, 8>& group, bool transposed) {
  transposed ? group.solve_transposed() : group.solve();
}
PHASIC_MPI_VECTORISED void run(Group<std::complex<double>, 8>& group, bool transposed) {
  transposed ? group.solve_transposed() : group.solve();
}
void run(Group<double, 1>& group, bool transposed) {
  transposed ? group.solve_transposed() : group.solve();
}
void run(Group<std::complex<double>, 1>& group, bool transposed) {
  transposed ? group.solve_transposed() : group.solve();
}

}  // namespace

template <class T>
BatchSolver<T>::BatchSolver(std::shared_ptr<const Plan> plan, Systems<T> systems, bool transposed)
    : plan_(std::move(plan)), systems_(std::move(systems)), transposed_(transposed) {
  const std::vector<int64_t>& shape = systems_.shape;
  const int64_t total =
      std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  std::vector<int64_t> index(shape.size(), 0);
  for (int64_t count = 0; count < total; ++count) {
    // Dimensions that neither weights nor shift have belong to the right-hand sides alone.
    std::vector<int64_t> factor(shape.size(), 0);
    std::vector<int64_t> right(shape.size(), 0);
    for (size_t d = 0; d < shape.size(); ++d) {
      const bool shared = systems_.weight.stride[d] == 0 && systems_.shift.stride[d] == 0;
      (shared ? right : factor)[d] = index[d];
    }
    if (std::ranges::all_of(right, [](int64_t i) { return i == 0; })) factors_.push_back(factor);
    if (std::ranges::all_of(factor, [](int64_t i) { return i == 0; })) right_.push_back(right);
    for (size_t d = shape.size(); d-- > 0;) {
      if (++index[d] < shape[d]) break;
      index[d] = 0;
    }
  }
  // Two lanes and more of a vector cost less than as many scalars.
  for (size_t first = 0; first < factors_.size();) {
    const size_t left = factors_.size() - first;
    const size_t taken = left < 3 ? 1 : std::min(left, kLanes);
    tasks_.push_back({first, taken});
    first += taken;
  }
}

template <class T>
void BatchSolver<T>::run(size_t task) const {
  const auto [first, count] = tasks_[task];
  const auto work = [&]<size_t n>() {
    typename Group<T, n>::Arrays arrays;
    arrays.multiplier.resize(right_.size());
    arrays.rhs.resize(right_.size());
    arrays.solution.resize(right_.size());
    const std::vector<int64_t> none(systems_.shape.size(), 0);
    for (size_t lane = 0; lane < n; ++lane) {
      // Lanes beyond the last repeat it, and write the same numbers.
      const std::vector<int64_t>& factor = factors_[first + std::min(lane, count - 1)];
      arrays.weight[lane] = element(systems_.weight, factor, none);
      arrays.shift[lane] = element(systems_.shift, factor, none);
      for (size_t r = 0; r < right_.size(); ++r) {
        arrays.multiplier[r][lane] = element(systems_.multiplier, factor, right_[r]);
        arrays.rhs[r][lane] = element(systems_.rhs, factor, right_[r]);
        arrays.solution[r][lane] = element(systems_.solution, factor, right_[r]);
      }
    }
    Group<T, n> group(*plan_, systems_.n_steps, arrays);
    phasic_mpi::run(group, transposed_);
  };
  if (count == 1) {
    work.template operator()<1>();
  } else {
    work.template operator()<kLanes>();
  }
}

template class BatchSolver<double>;
template class BatchSolver<std::complex<double>>;

}  // namespace phasic_mpi
