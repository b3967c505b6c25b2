#include "solve.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>

#include "group.hpp"
#include "lanes.hpp"

namespace phasic_mpi {
namespace {

PHASIC_MPI_VECTORISED void run(Group<double, 8>& group, bool transposed) {
  transposed ? group.solve_transposed() : group.solve();
}
PHASIC_MPI_VECTORISED void run(Group<double, 4>& group, bool transposed) {
  transposed ? group.solve_transposed() : group.solve();
}
PHASIC_MPI_VECTORISED void run(Group<double, 1>& group, bool transposed) {
  transposed ? group.solve_transposed() : group.solve();
}
PHASIC_MPI_VECTORISED void run(Group<std::complex<double>, 4>& group, bool transposed) {
  transposed ? group.solve_transposed() : group.solve();
}
PHASIC_MPI_VECTORISED void run(Group<std::complex<double>, 1>& group, bool transposed) {
  transposed ? group.solve_transposed() : group.solve();
}

/// The item `index` of all items of `shape`, an item being `stride` apart in each dimension.
int64_t offset_of(int64_t index, const std::vector<int64_t>& shape,
                  const std::vector<int64_t>& stride) {
  int64_t offset = 0;
  for (size_t d = shape.size(); d-- > 0;) {
    offset += index % shape[d] * stride[d];
    index /= shape[d];
  }
  return offset;
}

int64_t product(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

}  // namespace

template <class T>
BatchSolver<T>::BatchSolver(std::shared_ptr<const Plan> plan, Systems<T> systems, bool transposed)
    : plan_(std::move(plan)),
      systems_(std::move(systems)),
      transposed_(transposed),
      factors_(systems_.shape),
      right_(systems_.shape) {
  // Dimensions that neither weights nor shift have belong to the right-hand sides alone.
  for (size_t d = 0; d < systems_.shape.size(); ++d) {
    const bool shared = systems_.weight.stride[d] == 0 && systems_.shift.stride[d] == 0;
    (shared ? factors_ : right_)[d] = 1;
  }
  n_factors_ = at(product(factors_));
  // Two lanes and more of a vector cost less than as many scalars.
  n_lanes_ = n_factors_ < 3 ? 1 : (std::is_same_v<T, double> ? plan_->n_lanes() : 4);
  n_tasks_ = product(systems_.shape) == 0 ? 0 : (n_factors_ + n_lanes_ - 1) / n_lanes_;
}

template <class T>
void BatchSolver<T>::run(size_t task) const {
  switch (n_lanes_) {
    case 1:
      return run_lanes<1>(task);
    case 4:
      return run_lanes<4>(task);
    default:
      if constexpr (std::is_same_v<T, double>) run_lanes<8>(task);
  }
}

template <class T>
template <size_t n>
void BatchSolver<T>::run_lanes(size_t task) const {
  std::array<int64_t, n> factor;
  for (size_t lane = 0; lane < n; ++lane) {
    // Lanes beyond the last repeat it, and write the same numbers.
    factor[lane] = static_cast<int64_t>(std::min(task * n + lane, n_factors_ - 1));
  }
  const auto lanes_of = [&]<class Number>(const Operand<Number>& operand, int64_t right) {
    std::array<Number*, n> lanes;
    for (size_t lane = 0; lane < n; ++lane) {
      lanes[lane] = operand.data + offset_of(factor[lane], factors_, operand.stride) +
                    offset_of(right, right_, operand.stride);
    }
    return lanes;
  };
  typename Group<T, n>::Arrays arrays{
      lanes_of(systems_.weight, 0), Source<T, n>(lanes_of(systems_.shift, 0)), {}};
  for (int64_t right = 0; right < product(right_); ++right) {
    arrays.right.push_back({Source<T, n>(lanes_of(systems_.multiplier, right)),
                            Source<T, n>(lanes_of(systems_.rhs, right)),
                            lanes_of(systems_.solution, right)});
  }
  Group<T, n> group(*plan_, systems_.n_steps, arrays);
  phasic_mpi::run(group, transposed_);
}

template class BatchSolver<double>;
template class BatchSolver<std::complex<double>>;

}  // namespace phasic_mpi
