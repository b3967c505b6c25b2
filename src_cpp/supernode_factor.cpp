#include "supernode_factor.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

#include "dense_products.hpp"
#include "vectorised.hpp"

namespace phasic_mpi {
namespace {

// Pivots of a panel that are eliminated one by one before their products go on to the next.
constexpr size_t kTogether = 8;

constexpr auto kAsItIs = [](double number, int32_t /*pivot*/) { return number; };

static_assert(SupernodeProgram::kBehind >= DenseProducts::kBehind);

}  // namespace

void SupernodeFactor::place(Workspace& workspace, size_t n_values, size_t n_vertices) {
  values_ = workspace.take<double>(n_values);
  inverse_ = workspace.take<double>(n_vertices);
  x_ = workspace.take<double>(n_vertices);
}

void SupernodeFactor::factor(const SupernodeProgram& program, const double* weight,
                             const Carried<double, 1>* carried, double* x,
                             Pivots<double, 1>& pivots, Crew& crew) const {
  Run run{program, weight, carried, x, std::vector<std::atomic<bool>>(program.panels.size())};
  if (!program.is_shared()) {
    pivots.poison.meet(work(run));
  } else {
    std::mutex mutex;
    crew.share([&] {
      const Poison<1> poison = work(run);
      const std::lock_guard lock(mutex);
      pivots.poison.meet(poison);
    });
  }
}

/// Eliminates units that no other thread has claimed until there are none. All memory is there
/// before the first is claimed, so that no other thread waits in vain.
Poison<1> SupernodeFactor::work(Run& run) const {
  const SupernodeProgram& program = run.program;
  Scratch scratch(program.order.size());
  const size_t n_units = program.unit_ptr.size() - 1;
  for (size_t unit = run.next_unit++; unit < n_units; unit = run.next_unit++) {
    for (int32_t i = program.unit_ptr[unit]; i < program.unit_ptr[unit + 1]; ++i) {
      factor_panel(run, at(program.unit_panels[at(i)]), scratch);
    }
  }
  return scratch.pivots.poison;
}

void SupernodeFactor::factor_panel(Run& run, size_t index, Scratch& scratch) const {
  const SupernodeProgram& program = run.program;
  const Panel& panel = program.panels[index];
  fill(run, index);
  const auto place = [&](const SupernodeProgram::Half& half, std::vector<int32_t>& places) {
    for (int32_t k = 0; k < panel.width; ++k) places[at(panel.first + k)] = k;
    for (int32_t i = 0; i < half.n_later; ++i) {
      places[at(program.later[at(half.later + i)])] = panel.width + i;
    }
  };
  place(panel.upper, scratch.upper_place);
  place(panel.lower, scratch.lower_place);
  for (int64_t u = panel.updates; u < program.panels[index + 1].updates; ++u) {
    run.is_done[at(program.updates[at(u)].panel)].wait(false);
    update(program, panel, program.updates[at(u)], scratch);
  }
  eliminate(panel, scratch);
  run.is_done[index] = true;
  run.is_done[index].notify_all();
  const double* solved = upper(panel) + panel.width + panel.upper.n_later + 1;
  for (int32_t k = panel.first; k < panel.end(); ++k, solved += panel.upper.stride) {
    run.x[program.order[at(k)]] = *solved;
  }
}

/// Edges in their places, and what is carried along.
void SupernodeFactor::fill(const Run& run, size_t index) const {
  const SupernodeProgram& program = run.program;
  const Panel& panel = program.panels[index];
  double* row = upper(panel);
  std::fill_n(row, panel.n_values(), 0.0);
  for (int64_t e = panel.edges; e < program.panels[index + 1].edges; ++e) {
    row[program.edges[at(e)].place] = run.weight[program.edges[at(e)].weight];
  }
  row += panel.width + panel.upper.n_later;
  for (int32_t k = panel.first; k < panel.end(); ++k, row += panel.upper.stride) {
    const Carried<double, 1>& own = run.carried[program.order[at(k)]];
    row[0] = own.escape;
    row[1] = own.x;
  }
}

/// Jumps to the pivots of an earlier panel go on from there.
void SupernodeFactor::update(const SupernodeProgram& program, const Panel& panel,
                             const SupernodeProgram::Update& update, Scratch& scratch) const {
  const Panel& from = program.panels[at(update.panel)];
  const auto find = [&](const SupernodeProgram::Half& half, int32_t begin,
                        const std::vector<int32_t>& places, std::vector<int32_t>& found) {
    found.clear();
    for (int32_t i = begin; i < half.n_later; ++i) {
      found.push_back(places[at(program.later[at(half.later + i)])]);
    }
  };
  const bool has_rows = update.lower.begin < update.lower.end;
  const bool has_columns = update.upper.begin < update.upper.end;
  find(from.upper, update.upper.begin, scratch.upper_place, scratch.columns);
  find(from.lower, update.lower.begin, scratch.lower_place, scratch.rows);
  const double* const rates = upper(from) + from.width + update.upper.begin;
  const double* const multipliers = lower(from) + from.width + update.lower.begin;
  if (has_columns) {
    const DenseProducts products{.left = rates,
                                 .right = multipliers,
                                 .left_stride = at(from.upper.stride),
                                 .right_stride = at(from.lower.stride),
                                 .depth = at(from.width),
                                 .n_rows = at(update.upper.end - update.upper.begin),
                                 .n_columns = scratch.rows.size(),
                                 .target = lower(panel),
                                 .target_stride = at(panel.lower.stride),
                                 .rows = scratch.columns.data(),
                                 .columns = scratch.rows.data(),
                                 .only_behind = true};
    products.add(scratch.room.get());
  }
  if (has_rows) {
    scratch.columns.push_back(panel.width + panel.upper.n_later);
    scratch.columns.push_back(panel.width + panel.upper.n_later + 1);
    const DenseProducts products{.left = multipliers,
                                 .right = rates,
                                 .left_stride = at(from.lower.stride),
                                 .right_stride = at(from.upper.stride),
                                 .depth = at(from.width),
                                 .n_rows = at(update.lower.end - update.lower.begin),
                                 .n_columns = scratch.columns.size(),
                                 .target = upper(panel),
                                 .target_stride = at(panel.upper.stride),
                                 .rows = scratch.rows.data(),
                                 .columns = scratch.columns.data(),
                                 .only_behind = true};
    products.add(scratch.room.get());
  }
}

void SupernodeFactor::eliminate(const Panel& panel, Scratch& scratch) const {
  const size_t width = at(panel.width);
  double* const room = scratch.room.get();
  for (size_t begin = 0; begin < width; begin += kTogether) {
    const size_t end = std::min(begin + kTogether, width);
    if (begin > 0) meet(panel, {0, begin}, {begin, end}, begin, room);
    for (size_t pivot = begin; pivot < end; ++pivot) {
      if (pivot > begin) meet(panel, {begin, pivot}, {pivot, pivot + 1}, pivot + 1, room);
      invert(panel, pivot, scratch.pivots);
    }
  }
}

/// Rows of U and columns of L that belong to some pivots take products with those of earlier ones,
/// beginning at vertex `first` of the panel.
void SupernodeFactor::meet(const Panel& panel, Pivot earlier, Pivot own, size_t first,
                           double* room) const {
  const size_t up = at(panel.upper.stride);
  const size_t low = at(panel.lower.stride);
  DenseProducts products{
      .left = lower(panel) + earlier.begin * low + own.begin,
      .right = upper(panel) + earlier.begin * up + first,
      .left_stride = low,
      .right_stride = up,
      .depth = earlier.end - earlier.begin,
      .n_rows = own.end - own.begin,
      .n_columns = at(panel.width + panel.upper.n_later) + SupernodeProgram::kCarried - first,
      .target = upper(panel) + own.begin * up + first,
      .target_stride = up,
      .rows = nullptr,
      .columns = nullptr,
      .only_behind = false};
  products.add(room);
  products.left = upper(panel) + earlier.begin * up + own.begin;
  products.right = lower(panel) + earlier.begin * low + first;
  std::swap(products.left_stride, products.right_stride);
  products.n_columns = at(panel.width + panel.lower.n_later) - first;
  products.target = lower(panel) + own.begin * low + first;
  products.target_stride = low;
  products.add(room);
}

/// The column of L becomes multipliers. The diagonal has jumps back: GTH leaves them out.
void SupernodeFactor::invert(const Panel& panel, size_t pivot, Pivots<double, 1>& pivots) const {
  const double* const row = upper(panel) + pivot * at(panel.upper.stride);
  double* const column = lower(panel) + pivot * at(panel.lower.stride);
  const size_t n_columns = at(panel.width + panel.upper.n_later);
  double sum = row[n_columns];
  for (size_t c = pivot + 1; c < n_columns; ++c) sum += row[c];
  const double inverse = pivots.invert(sum);
  inverse_[at(panel.first) + pivot] = inverse;
  const size_t n_rows = at(panel.width + panel.lower.n_later);
  for (size_t r = pivot + 1; r < n_rows; ++r) column[r] *= inverse;
}

void SupernodeFactor::permute(const SupernodeProgram& program, const double* x) const {
  double* to = x_;
  for (const int32_t vertex : program.order) *to++ = x[vertex];
}

void SupernodeFactor::permute_back(const SupernodeProgram& program, double* x) const {
  const double* from = x_;
  for (const int32_t vertex : program.order) x[vertex] = *from++;
}

/// Panel by panel, each vertex is made ready and adds to later ones, by rows of U or columns of L.
template <bool fused, class Ready>
PHASIC_MPI_INLINE void SupernodeFactor::spread(const SupernodeProgram& program,
                                               SupernodeProgram::Half Panel::* half,
                                               const Ready& ready) const {
  for (size_t p = 0; p + 1 < program.panels.size(); ++p) {
    const Panel& panel = program.panels[p];
    const SupernodeProgram::Half& side = panel.*half;
    const int32_t* const later = program.later.data() + side.later;
    double* const own = x_ + panel.first;
    const double* row = values_of(panel, half);
    for (int32_t k = 0; k < panel.width; ++k, row += side.stride) {
      own[k] = ready(own[k], panel.first + k);
      for (int32_t c = k + 1; c < panel.width; ++c) add_product<fused>(own[c], row[c], own[k]);
      for (int32_t i = 0; i < side.n_later; ++i) {
        add_product<fused>(x_[later[i]], row[panel.width + i], own[k]);
      }
    }
  }
}

/// From the last panel on, each vertex takes from later ones and is made ready.
template <class Ready>
PHASIC_MPI_INLINE void SupernodeFactor::collect(const SupernodeProgram& program,
                                                SupernodeProgram::Half Panel::* half,
                                                const Ready& ready) const {
  for (size_t p = program.panels.size() - 1; p-- > 0;) {
    const Panel& panel = program.panels[p];
    const SupernodeProgram::Half& side = panel.*half;
    const int32_t* const later = program.later.data() + side.later;
    double* const own = x_ + panel.first;
    const double* row = values_of(panel, half) + int64_t{panel.width} * side.stride;
    for (int32_t k = panel.width; k-- > 0;) {
      row -= side.stride;
      double sum = own[k];
      // The first column is the last to be known.
      for (int32_t i = side.n_later; i-- > 0;) sum += row[panel.width + i] * x_[later[i]];
      for (int32_t c = panel.width; c-- > k + 1;) sum += row[c] * own[c];
      own[k] = ready(sum, panel.first + k);
    }
  }
}

void SupernodeFactor::forward(const SupernodeProgram& program, double* x) const {
  run_vectorised<true>([&](auto fused) {
    permute(program, x);
    spread<fused>(program, &Panel::lower, kAsItIs);
    permute_back(program, x);
  });
}

void SupernodeFactor::backward(const SupernodeProgram& program, double* x) const {
  run_vectorised<true>([&](auto) {
    permute(program, x);
    collect(program, &Panel::upper, [&](double sum, int32_t k) { return sum * inverse_[k]; });
    permute_back(program, x);
  });
}

int32_t SupernodeFactor::first_illegal(const SupernodeProgram& program) const {
  for (size_t i = 0; i < program.order.size(); ++i) {
    if (!Pivots<double, 1>::is_legal(inverse_[i])) return program.order[i];
  }
  return -1;
}

void SupernodeFactor::transposed(const SupernodeProgram& program, double* x) const {
  run_vectorised<true>([&](auto) {
    permute(program, x);
    spread<false>(program, &Panel::upper, [&](double sum, int32_t k) { return sum * inverse_[k]; });
    collect(program, &Panel::lower, kAsItIs);
    permute_back(program, x);
  });
}

}  // namespace phasic_mpi
