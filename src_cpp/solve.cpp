#include "solve.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>

#include "group.hpp"
#include "lanes.hpp"

namespace phasic_mpi {
namespace {

// Threads that can be of use for one factorisation, beside the first.
constexpr size_t kHelpers = 15;

size_t product(const std::vector<int64_t>& shape) {
  return at(std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>()));
}

/// One array of each lane.
template <size_t n, class Item, class Pointer>
std::array<Pointer, n> lanes_of(const std::array<Item, n>& lanes, Pointer Item::* member) {
  std::array<Pointer, n> out;
  for (size_t lane = 0; lane < n; ++lane) out[lane] = lanes[lane].*member;
  return out;
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
  n_factors_ = product(factors_);
  // Two lanes and more of a vector cost less than as many scalars.
  n_lanes_ = n_factors_ < 3 ? 1 : (std::is_same_v<T, double> ? plan_->n_lanes() : 4);
  n_tasks_ = product(systems_.shape) == 0 ? 0 : (n_factors_ + n_lanes_ - 1) / n_lanes_;
  const bool shares =
      std::is_same_v<T, double> && plan_->way(Plan::Use::one).sizes.supernode_values > 0;
  if (n_tasks_ == 1 && n_factors_ == 1 && shares) n_tasks_ += kHelpers;
}

template <class T>
void BatchSolver<T>::run(size_t task) {
  if (n_factors_ > 1) return run_factors(task);
  if (task > 0) return crew_.help();
  const Dismissal dismissal{crew_};
  run_factors(task);
}

template <class T>
void BatchSolver<T>::run_factors(size_t task) {
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
auto BatchSolver<T>::item(Item from, const std::vector<int64_t>& shape, size_t index) const
    -> Item {
  for (size_t d = shape.size(); d-- > 0;) {
    if (shape[d] == 1) continue;
    const auto place = static_cast<int64_t>(index % at(shape[d]));
    index /= at(shape[d]);
    from.weight += systems_.weight.stride[d] * place;
    from.shift += systems_.shift.stride[d] * place;
    from.multiplier += systems_.multiplier.stride[d] * place;
    from.rhs += systems_.rhs.stride[d] * place;
    from.solution += systems_.solution.stride[d] * place;
  }
  return from;
}

template <class T>
template <size_t n>
void BatchSolver<T>::run_lanes(size_t task) {
  const Item origin{systems_.weight.data, systems_.shift.data, systems_.multiplier.data,
                    systems_.rhs.data, systems_.solution.data};
  std::array<Item, n> lanes;
  for (size_t lane = 0; lane < n; ++lane) {
    // Lanes beyond the last repeat it, and write the same numbers.
    lanes[lane] = item(origin, factors_, std::min(task * n + lane, n_factors_ - 1));
  }
  typename Group<T, n>::Arrays arrays{
      lanes_of(lanes, &Item::weight), Source<T, n>(lanes_of(lanes, &Item::shift)), {}};
  const size_t n_right = product(right_);
  arrays.right.reserve(n_right);
  for (size_t right = 0; right < n_right; ++right) {
    std::array<Item, n> own;
    for (size_t lane = 0; lane < n; ++lane) own[lane] = item(lanes[lane], right_, right);
    arrays.right.push_back({Source<T, n>(lanes_of(own, &Item::multiplier)),
                            Source<T, n>(lanes_of(own, &Item::rhs)),
                            lanes_of(own, &Item::solution)});
  }
  Group<T, n> group(*plan_, systems_.n_steps, arrays, crew_);
  run_vectorised<std::is_same_v<T, double>>([&](auto fused) {
    transposed_ ? group.template solve_transposed<fused>() : group.template solve<fused>();
  });
}

template class BatchSolver<double>;
template class BatchSolver<std::complex<double>>;

}  // namespace phasic_mpi
