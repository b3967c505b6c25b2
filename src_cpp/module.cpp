// The Python face of the core: the only file that knows pybind11. Arrays are checked here, once,
// and the GIL is released while the core works.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "block_store.hpp"
#include "cut.hpp"
#include "dissection.hpp"
#include "distinct.hpp"
#include "elimination.hpp"
#include "exploration.hpp"
#include "factor.hpp"
#include "ffi_handlers.hpp"
#include "join.hpp"
#include "order.hpp"
#include "plan.hpp"
#include "prediction.hpp"
#include "record.hpp"
#include "registry.hpp"
#include "scc.hpp"
#include "solve.hpp"
#include "status.hpp"
#include "symmetric_pattern.hpp"
#include "trace_view.hpp"
#include "views.hpp"
#include "workspace.hpp"

namespace py = pybind11;

namespace phasic_mpi {
namespace {

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

template <typename T>
std::span<const T> view(const Array<T>& array) {
  if (array.ndim() != 1) throw std::invalid_argument("expected a one-dimensional array");
  return {array.data(), static_cast<size_t>(array.size())};
}

template <typename T>
std::span<T> writable(Array<T>& array) {
  if (array.ndim() != 1) throw std::invalid_argument("expected a one-dimensional array");
  return {array.mutable_data(), static_cast<size_t>(array.size())};
}

/// Hands `data` to Python without a copy: the array owns the vector.
template <typename T>
Array<T> to_numpy(std::vector<T>&& data) {
  auto owner = std::make_unique<std::vector<T>>(std::move(data));
  const auto size = static_cast<py::ssize_t>(owner->size());
  T* first = owner->data();
  py::capsule keeper(owner.release(),
                     [](void* held) { delete static_cast<std::vector<T>*>(held); });
  return Array<T>(size, first, keeper);
}

/// Rows of a two-dimensional array, one after another.
template <typename T>
std::span<const T> rows(const Array<T>& array, py::ssize_t n_columns) {
  if (array.ndim() != 2 || array.shape(1) != n_columns) {
    throw std::invalid_argument("expected rows of " + std::to_string(n_columns) + " columns");
  }
  return {array.data(), static_cast<size_t>(array.size())};
}

void check_vertices(std::span<const int32_t> vertices, int32_t n_vertices, const char* name) {
  for (size_t row = 0; row < vertices.size(); ++row) {
    if (vertices[row] >= 0 && vertices[row] < n_vertices) continue;
    throw std::invalid_argument(std::string(name) + "[" + std::to_string(row) +
                                "] is out of range");
  }
}

void check_edges(std::span<const int32_t> source, std::span<const int32_t> target,
                 int32_t n_vertices) {
  if (source.size() != target.size()) {
    throw std::invalid_argument("source and target differ in length");
  }
  check_vertices(source, n_vertices, "source");
  check_vertices(target, n_vertices, "target");
}

py::dict condense_arrays(int32_t n_vertices, const Array<int32_t>& source,
                         const Array<int32_t>& target) {
  const auto from = view(source);
  const auto to = view(target);
  check_edges(from, to, n_vertices);
  Components parts;
  {
    const py::gil_scoped_release release;
    parts = condense(n_vertices, from, to);
  }
  py::dict out;
  out["block_ptr"] = to_numpy(std::move(parts.block_ptr));
  out["vertex"] = to_numpy(std::move(parts.vertex));
  out["position"] = to_numpy(std::move(parts.position));
  out["internal_ptr"] = to_numpy(std::move(parts.internal_ptr));
  out["inner_ptr"] = to_numpy(std::move(parts.inner_ptr));
  out["inner_col"] = to_numpy(std::move(parts.inner_col));
  out["off_ptr"] = to_numpy(std::move(parts.off_ptr));
  out["off_col"] = to_numpy(std::move(parts.off_col));
  out["edge_place"] = to_numpy(std::move(parts.edge_place));
  return out;
}

Array<int32_t> trapped(int32_t n_vertices, const Array<int32_t>& source,
                       const Array<int32_t>& target) {
  const auto from = view(source);
  const auto to = view(target);
  check_edges(from, to, n_vertices);
  std::vector<int32_t> vertices;
  {
    const py::gil_scoped_release release;
    vertices = trapped_vertices(n_vertices, from, to);
  }
  return to_numpy(std::move(vertices));
}

void require_ok(Status status) {
  for (const auto& [code, name] : kStatusNames) {
    if (code == status && status != Status::ok) throw std::runtime_error(name);
  }
}

Status order_by_minimum_degree(const BlockView& block, const std::atomic<bool>& cancel,
                               std::vector<int32_t>& order) {
  return minimum_degree_order(block, symmetric_pattern(block), cancel, order);
}

bool is_valid_block(const Array<int64_t>& row_ptr, const Array<int32_t>& col, int32_t n_below,
                    int32_t n_boundary) {
  const BlockView block{view(row_ptr), view(col), n_below, n_boundary};
  const py::gil_scoped_release release;
  return is_valid(block);
}

using OrderFunction = Status (*)(const BlockView&, const std::atomic<bool>&, std::vector<int32_t>&);

template <OrderFunction kFindOrder>
Array<int32_t> order_block(const Array<int64_t>& row_ptr, const Array<int32_t>& col) {
  const BlockView block{view(row_ptr), view(col)};
  if (!is_valid(block)) require_ok(Status::bad_index);
  std::vector<int32_t> order;
  {
    const py::gil_scoped_release release;
    const std::atomic<bool> never{false};
    require_ok(kFindOrder(block, never, order));
  }
  return to_numpy(std::move(order));
}

py::tuple dissect_block(const Array<int64_t>& row_ptr, const Array<int32_t>& col,
                        int32_t leaf_vertices) {
  const BlockView block{view(row_ptr), view(col)};
  if (!is_valid(block)) require_ok(Status::bad_index);
  if (leaf_vertices < 1) throw std::invalid_argument("leaf_vertices is less than 1");
  PartTree tree;
  {
    const py::gil_scoped_release release;
    const std::atomic<bool> never{false};
    TaskPool pool(1);
    require_ok(dissect(symmetric_pattern(block), leaf_vertices, never, pool, tree));
  }
  return py::make_tuple(to_numpy(std::move(tree.parent)), to_numpy(std::move(tree.part_of)));
}

/// Parts of a block as Python has them: row_ptr, col, n_below, n_boundary, vertex.
py::list cut_block(const Array<int64_t>& row_ptr, const Array<int32_t>& col,
                   std::optional<int32_t> leaf_vertices, size_t n_threads) {
  const BlockView block{view(row_ptr), view(col)};
  if (!is_valid(block)) require_ok(Status::bad_index);
  if (leaf_vertices && *leaf_vertices < 1) {
    throw std::invalid_argument("leaf_vertices is less than 1");
  }
  if (n_threads < 1) throw std::invalid_argument("n_threads is less than 1");
  std::vector<Part> parts;
  {
    const py::gil_scoped_release release;
    const std::atomic<bool> never{false};
    std::vector<int32_t> order;
    require_ok(leaf_vertices ? cut(block, *leaf_vertices, never, n_threads, parts)
                             : cut_or_order(block, never, n_threads, parts, order));
  }
  py::list out;
  for (Part& part : parts) {
    out.append(py::make_tuple(to_numpy(std::move(part.row_ptr)), to_numpy(std::move(part.col)),
                              part.n_below, part.n_boundary, to_numpy(std::move(part.vertex))));
  }
  return out;
}

py::tuple pattern_arrays(LuPattern&& pattern) {
  return py::make_tuple(to_numpy(std::move(pattern.order)), to_numpy(std::move(pattern.row_ptr)),
                        to_numpy(std::move(pattern.upper_ptr)), to_numpy(std::move(pattern.col)),
                        to_numpy(std::move(pattern.edge_slot)));
}

using PartArrays = std::tuple<Array<int32_t>, int32_t, Array<int32_t>, Array<int64_t>,
                              Array<int64_t>, Array<int32_t>>;

py::tuple join_parts(const Array<int64_t>& row_ptr, const Array<int32_t>& col,
                     const std::vector<PartArrays>& parts, std::optional<Array<int32_t>> out) {
  const BlockView block{view(row_ptr), view(col)};
  if (!is_valid(block)) require_ok(Status::bad_index);
  std::vector<RecordedPart> recorded;
  for (const auto& [vertex, n_own, order, rows, upper, columns] : parts) {
    recorded.push_back({view(vertex), n_own, view(order), view(rows), view(upper), view(columns)});
  }
  if (!out) out = Array<int32_t>(static_cast<py::ssize_t>(count_entries(recorded)));
  const std::span<int32_t> entries = writable(*out);
  LuPattern pattern;
  {
    const py::gil_scoped_release release;
    require_ok(join(block, recorded, entries, pattern));
  }
  return py::make_tuple(to_numpy(std::move(pattern.order)), to_numpy(std::move(pattern.row_ptr)),
                        to_numpy(std::move(pattern.upper_ptr)), *out,
                        to_numpy(std::move(pattern.edge_slot)));
}

void check_order(std::span<const int32_t> order, int32_t n_vertices) {
  check_vertices(order, n_vertices, "order");
  std::vector<bool> seen(static_cast<size_t>(n_vertices), false);
  for (const int32_t vertex : order) seen[static_cast<size_t>(vertex)] = true;
  if (order.size() == seen.size() && std::find(seen.begin(), seen.end(), false) == seen.end()) {
    return;
  }
  throw std::invalid_argument("order is not a permutation of the vertices");
}

py::tuple count_order_cost(const Array<int64_t>& row_ptr, const Array<int32_t>& col,
                           const Array<int32_t>& order) {
  const BlockView block{view(row_ptr), view(col)};
  const auto vertices = view(order);
  if (!is_valid(block)) require_ok(Status::bad_index);
  check_order(vertices, block.n());
  LuPattern pattern;
  int64_t n_products = 0;
  {
    const py::gil_scoped_release release;
    const std::atomic<bool> never{false};
    require_ok(symbolic_lu(block, vertices, never, pattern));
    n_products = count_products(
        {vertices, pattern.row_ptr, pattern.upper_ptr, pattern.col.data(), pattern.edge_slot, 0});
  }
  return py::make_tuple(pattern.col.size(), n_products);
}

py::tuple predict_order_cost(const Array<int64_t>& row_ptr, const Array<int32_t>& col,
                             const Array<int32_t>& order) {
  const BlockView block{view(row_ptr), view(col)};
  const auto vertices = view(order);
  if (!is_valid(block)) require_ok(Status::bad_index);
  check_order(vertices, block.n());
  OrderCost cost;
  {
    const py::gil_scoped_release release;
    cost = predict_cost(symmetric_pattern(block), vertices);
  }
  return py::make_tuple(cost.n_entries, cost.n_products);
}

/// Keeps the arrays of a trace alive beside the views of them.
class PyTrace {
 public:
  PyTrace(Array<int64_t> block_ptr, Array<int32_t> block_pattern, Array<int64_t> value_ptr,
          Array<int64_t> pattern_ptr, Array<int32_t> order, Array<int64_t> row_ptr,
          Array<int64_t> upper_ptr, Array<int32_t> col, Array<int64_t> off_ptr,
          Array<int32_t> off_col)
      : view_{view(block_ptr), view(block_pattern), view(value_ptr), view(pattern_ptr),
              view(order),     view(row_ptr),       view(upper_ptr), view(col),
              view(off_ptr),   view(off_col)} {
    for (const py::array& array :
         {py::array(block_ptr), py::array(block_pattern), py::array(value_ptr),
          py::array(pattern_ptr), py::array(order), py::array(row_ptr), py::array(upper_ptr),
          py::array(col), py::array(off_ptr), py::array(off_col)}) {
      arrays_.append(array);
    }
    const py::gil_scoped_release release;
    if (!is_valid(view_)) throw std::invalid_argument("the trace is not consistent");
  }

  [[nodiscard]] const TraceView& trace() const { return view_; }

  [[nodiscard]] Array<int64_t> updates() const {
    std::vector<int64_t> counted;
    {
      const py::gil_scoped_release release;
      counted = count_updates(view_);
    }
    return to_numpy(std::move(counted));
  }

 private:
  TraceView view_;
  py::list arrays_;
};

/// Solves with a right-hand side of ones for at least so many seconds.
double seconds_per_solve(const std::shared_ptr<const Plan>& plan, const double* weights,
                         int64_t n_theta, double at_least) {
  const auto n = static_cast<int64_t>(plan->n_transient());
  const std::vector<double> none(plan->n_transient(), 0.0);
  const std::vector<double> ones(plan->n_transient(), 1.0);
  std::vector<double> solution(plan->n_transient() * static_cast<size_t>(n_theta));
  const Systems<double> systems{{n_theta},
                                1,
                                {weights, {static_cast<int64_t>(plan->n_weights())}},
                                {none.data(), {0}},
                                {none.data(), {0}},
                                {ones.data(), {0}},
                                {solution.data(), {n}}};
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin = Clock::now();
  std::chrono::duration<double> elapsed{0.0};
  int64_t n_calls = 0;
  do {
    BatchSolver<double> solver(plan, systems, false);
    for (size_t task = 0; task < solver.n_tasks(); ++task) solver.run(task);
    ++n_calls;
    elapsed = Clock::now() - begin;
  } while (elapsed.count() < at_least);
  return elapsed.count() / static_cast<double>(n_calls);
}

Plan::Supernodes which(std::optional<bool> supernodes) {
  if (!supernodes) return Plan::Supernodes::by_cost;
  return *supernodes ? Plan::Supernodes::all : Plan::Supernodes::none;
}

/// A plan that XLA's handlers find by its number while Python holds it.
class PyPlan {
 public:
  PyPlan(const PyTrace& trace, const Array<int64_t>& weight_slot, std::optional<bool> supernodes,
         size_t n_threads)
      : id_(registry().new_id()) {
    const std::span<const int64_t> slots = view(weight_slot);
    {
      const py::gil_scoped_release release;
      plan_ = std::make_shared<const Plan>(trace.trace(), slots, Plan::Purpose::batches,
                                           which(supernodes), n_threads);
    }
    registry().add(id_, plan_);
  }
  PyPlan(const PyPlan&) = delete;
  PyPlan& operator=(const PyPlan&) = delete;
  ~PyPlan() { registry().remove(id_); }

  [[nodiscard]] uint32_t id() const { return id_; }
  [[nodiscard]] size_t n_lanes() const { return plan_->n_lanes(); }
  [[nodiscard]] int64_t fewest_jumps(const Array<int32_t>& from) const {
    return plan_->edges().fewest_jumps(view(from), plan_->exit_weight());
  }

  /// Time of factoring and solving once for each row of weights, on this thread, without XLA.
  [[nodiscard]] double time_solves(const Array<double>& weight, double at_least) const {
    if (weight.ndim() != 2 || static_cast<size_t>(weight.shape(1)) != plan_->n_weights()) {
      throw std::invalid_argument("weight: expected float64[n_theta, " +
                                  std::to_string(plan_->n_weights()) + "]");
    }
    const int64_t n_theta = weight.shape(0);
    const double* const weights = weight.data();
    const py::gil_scoped_release release;
    return seconds_per_solve(plan_, weights, n_theta, at_least);
  }

 private:
  static Registry<const Plan>& registry() { return Registry<const Plan>::instance(); }

  uint32_t id_;
  std::shared_ptr<const Plan> plan_;
};

/// A factorisation that keeps the weights.
class PyFactor {
 public:
  PyFactor(const std::shared_ptr<const Plan>& plan, Array<double> weight, size_t n_threads)
      : weight_(std::move(weight)), n_transient_(plan->n_transient()) {
    if (static_cast<size_t>(weight_.size()) != plan->n_weights()) {
      throw std::invalid_argument("weight: expected " + std::to_string(plan->n_weights()) +
                                  " numbers, got " + std::to_string(weight_.size()));
    }
    const std::span<const double> weights = view(weight_);
    const py::gil_scoped_release release;
    factor_ = std::make_unique<Factor>(plan, weights);
    failed_ = factor_->factor(n_threads);
  }

  [[nodiscard]] int64_t failed() const { return failed_; }

  void solve(Array<double>& x, bool transpose) {
    if (failed_ != Factor::kDone) throw std::invalid_argument("the factorisation failed");
    if (static_cast<size_t>(x.size()) != n_transient_) {
      throw std::invalid_argument("x: expected " + std::to_string(n_transient_) + " numbers, got " +
                                  std::to_string(x.size()));
    }
    const std::span<double> numbers = writable(x);
    const py::gil_scoped_release release;
    transpose ? factor_->solve_transposed(numbers) : factor_->solve(numbers);
  }

 private:
  Array<double> weight_;
  size_t n_transient_;
  std::unique_ptr<Factor> factor_;
  int64_t failed_ = Factor::kDone;
};

/// A plan for factors that are kept, of all blocks or of a window.
class PyFactorPlan {
 public:
  PyFactorPlan(const PyTrace& trace, const Array<int64_t>& weight_slot,
               std::optional<bool> supernodes, std::optional<std::pair<size_t, size_t>> blocks,
               std::shared_ptr<WorkspacePool> workspaces, size_t n_threads) {
    if (workspaces == nullptr) workspaces = std::make_shared<WorkspacePool>();
    const auto [begin, end] = blocks.value_or(std::pair{size_t{0}, trace.trace().n_blocks()});
    const std::span<const int64_t> slots = view(weight_slot);
    const py::gil_scoped_release release;
    plan_ = std::make_shared<const Plan>(trace.trace(), slots, Plan::Purpose::factors,
                                         which(supernodes), n_threads, Plan::Window{begin, end},
                                         std::move(workspaces));
  }

  [[nodiscard]] int64_t n_in_supernodes() const {
    return std::ranges::count_if(plan_->way(Plan::Use::one).blocks, [](const Plan::Block& block) {
      return block.supernodes != nullptr;
    });
  }

  [[nodiscard]] std::unique_ptr<PyFactor> factor(Array<double> weight, size_t n_threads) const {
    return std::make_unique<PyFactor>(plan_, std::move(weight), n_threads);
  }

 private:
  std::shared_ptr<const Plan> plan_;
};

uint32_t put_block(BlockStore& store, const Array<int64_t>& row_ptr, const Array<int32_t>& col,
                   int32_t n_below, int32_t n_boundary) {
  const BlockView block{view(row_ptr), view(col), n_below, n_boundary};
  const py::gil_scoped_release release;
  return store.put(block);
}

int32_t record_block(BlockStore& store, uint32_t handle) {
  const py::gil_scoped_release release;
  return static_cast<int32_t>(store.record(handle));
}

py::tuple take_pattern(BlockStore& store, uint32_t handle) {
  LuPattern pattern;
  {
    const py::gil_scoped_release release;
    pattern = store.take(handle);
  }
  return pattern_arrays(std::move(pattern));
}

Array<int32_t> insert_states(Exploration& exploration, const Array<int32_t>& states) {
  const auto given = rows(states, exploration.states().length());
  Array<int32_t> vertex(states.shape(0));
  const auto vertices = writable(vertex);
  const py::gil_scoped_release release;
  exploration.insert(given, vertices);
  return vertex;
}

Array<int32_t> read_states(const Exploration& exploration, int32_t begin, int32_t end) {
  const StateTable& table = exploration.states();
  if (begin < 0 || end < begin || end > table.size()) {
    throw std::invalid_argument("states out of range");
  }
  Array<int32_t> states({static_cast<py::ssize_t>(end - begin), py::ssize_t{table.length()}});
  const std::span<int32_t> out(states.mutable_data(), static_cast<size_t>(states.size()));
  const py::gil_scoped_release release;
  table.read(begin, out);
  return states;
}

int64_t add_transitions(Exploration& exploration, const Array<int32_t>& row_of,
                        const Array<int64_t>& row, const Array<int32_t>& target,
                        const Array<double>& coefficient, bool is_constant) {
  const auto n_columns = static_cast<py::ssize_t>(exploration.edges(is_constant).n_coefficients());
  const Transitions transitions{view(row), rows(target, exploration.states().length()),
                                rows(coefficient, n_columns), is_constant};
  const auto own_rows = view(row_of);
  const py::gil_scoped_release release;
  return exploration.add(own_rows, transitions);
}

py::tuple take_edges(Exploration& exploration, bool is_constant) {
  EdgeRows& edges = exploration.edges(is_constant);
  const auto n_columns = static_cast<py::ssize_t>(edges.n_coefficients());
  const auto n_rows = static_cast<py::ssize_t>(edges.size());
  const Array<int32_t> source = to_numpy(edges.take_source());
  const Array<int32_t> target = to_numpy(edges.take_target());
  Array<double> coefficient = to_numpy(edges.take_coefficient());
  return py::make_tuple(source, target, coefficient.reshape({n_rows, n_columns}));
}

py::tuple distinct_arrays(const Array<int64_t>& numbers, int64_t end) {
  const std::span<const int64_t> given = view(numbers);
  if (!std::ranges::all_of(given, [&](int64_t number) { return number >= 0 && number < end; })) {
    throw std::invalid_argument("numbers are out of range");
  }
  Distinct found;
  {
    const py::gil_scoped_release release;
    found = distinct(given, end);
  }
  return py::make_tuple(to_numpy(std::move(found.number)), to_numpy(std::move(found.index)));
}

/// Arrays of a few megabytes are freed into the heap of their thread, which keeps its pages.
void return_free_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

/// Handler name -> capsule, as jax.ffi.register_ffi_target takes them.
py::dict handler_capsules() {
  py::dict capsules;
  for (const FfiHandler& handler : ffi_handlers()) {
    capsules[handler.name] = py::capsule(handler.function);
  }
  return capsules;
}

}  // namespace
}  // namespace phasic_mpi

PYBIND11_MODULE(_core, module) {
  using namespace phasic_mpi;
  module.doc() =
      "Compiled core: exploration, condensation, elimination orders, recording and replay.";

  py::dict status_names;
  for (const auto& [status, name] : kStatusNames) {
    status_names[py::int_(static_cast<int32_t>(status))] = name;
  }
  module.attr("STATUS_NAMES") = status_names;

  module.def("condense", &condense_arrays, py::arg("n_vertices"), py::arg("source").noconvert(),
             py::arg("target").noconvert());
  module.def("trapped_vertices", &trapped, py::arg("n_vertices"), py::arg("source").noconvert(),
             py::arg("target").noconvert());
  module.def("is_valid_block", &is_valid_block, py::arg("row_ptr").noconvert(),
             py::arg("col").noconvert(), py::arg("n_below"), py::arg("n_boundary"));
  module.def("elimination_order", &order_block<elimination_order>, py::arg("row_ptr").noconvert(),
             py::arg("col").noconvert());
  module.def("minimum_degree_order", &order_block<order_by_minimum_degree>,
             py::arg("row_ptr").noconvert(), py::arg("col").noconvert());
  module.def("dissect", &dissect_block, py::arg("row_ptr").noconvert(), py::arg("col").noconvert(),
             py::arg("leaf_vertices"));
  module.attr("CUT_VERTICES") = kCutVertices;
  module.def("cut", &cut_block, py::arg("row_ptr").noconvert(), py::arg("col").noconvert(),
             py::arg("leaf_vertices") = py::none(), py::arg("n_threads") = 1);
  module.def("join", &join_parts, py::arg("row_ptr").noconvert(), py::arg("col").noconvert(),
             py::arg("parts"), py::arg("out").noconvert() = py::none());
  module.def("predict_cost", &predict_order_cost, py::arg("row_ptr").noconvert(),
             py::arg("col").noconvert(), py::arg("order").noconvert());
  module.def("count_cost", &count_order_cost, py::arg("row_ptr").noconvert(),
             py::arg("col").noconvert(), py::arg("order").noconvert());

  py::class_<BlockStore, std::shared_ptr<BlockStore>>(module, "BlockStore")
      .def(py::init(&BlockStore::create))
      .def_property_readonly("id", &BlockStore::id)
      .def_property_readonly("size", &BlockStore::size)
      .def_property_readonly("n_done", &BlockStore::n_done)
      .def_property_readonly("max_concurrency", &BlockStore::max_concurrency)
      .def_property_readonly("cancelled", &BlockStore::cancelled)
      .def("put", &put_block, py::arg("row_ptr").noconvert(), py::arg("col").noconvert(),
           py::arg("n_below") = 0, py::arg("n_boundary") = 0)
      .def("record", &record_block, py::arg("handle"))
      .def("take", &take_pattern, py::arg("handle"))
      .def("drop", &BlockStore::drop, py::arg("handle"), py::call_guard<py::gil_scoped_release>())
      .def("cancel", &BlockStore::cancel);

  py::class_<Exploration>(module, "Exploration")
      .def(py::init<int32_t, size_t>(), py::arg("state_length"), py::arg("n_parameters"))
      .def_property_readonly("n_states", [](const Exploration& e) { return e.states().size(); })
      .def_property_readonly("nbytes", &Exploration::nbytes)
      .def("insert", &insert_states, py::arg("states").noconvert())
      .def("read", &read_states, py::arg("begin"), py::arg("end"))
      .def("add", &add_transitions, py::arg("row_of").noconvert(), py::arg("row").noconvert(),
           py::arg("target").noconvert(), py::arg("coefficient").noconvert(),
           py::arg("is_constant"))
      .def("close", &Exploration::close, py::arg("first"), py::arg("n_rows"),
           py::call_guard<py::gil_scoped_release>())
      .def("take", &take_edges, py::arg("is_constant"));

  module.def("distinct", &distinct_arrays, py::arg("numbers").noconvert(), py::arg("end"));
  module.def("return_free_memory", &return_free_memory, py::call_guard<py::gil_scoped_release>());
  module.def("ffi_handlers", &handler_capsules);

  py::class_<PyTrace>(module, "Trace")
      .def(py::init<Array<int64_t>, Array<int32_t>, Array<int64_t>, Array<int64_t>, Array<int32_t>,
                    Array<int64_t>, Array<int64_t>, Array<int32_t>, Array<int64_t>,
                    Array<int32_t>>(),
           py::kw_only(), py::arg("block_ptr").noconvert(), py::arg("block_pattern").noconvert(),
           py::arg("value_ptr").noconvert(), py::arg("pattern_ptr").noconvert(),
           py::arg("order").noconvert(), py::arg("row_ptr").noconvert(),
           py::arg("upper_ptr").noconvert(), py::arg("col").noconvert(),
           py::arg("off_ptr").noconvert(), py::arg("off_col").noconvert())
      .def("count_updates", &PyTrace::updates);

  py::class_<PyPlan>(module, "Plan")
      .def(py::init<const PyTrace&, const Array<int64_t>&, std::optional<bool>, size_t>(),
           py::arg("trace"), py::arg("weight_slot").noconvert(), py::arg("supernodes") = py::none(),
           py::arg("n_threads") = 1)
      .def_property_readonly("id", &PyPlan::id)
      .def_property_readonly("n_lanes", &PyPlan::n_lanes)
      .def("fewest_jumps", &PyPlan::fewest_jumps, py::arg("positions").noconvert())
      .def("time_solves", &PyPlan::time_solves, py::arg("weight").noconvert(), py::arg("at_least"));

  py::class_<WorkspacePool, std::shared_ptr<WorkspacePool>>(module, "Workspaces").def(py::init<>());

  py::class_<PyFactorPlan>(module, "FactorPlan")
      .def(py::init<const PyTrace&, const Array<int64_t>&, std::optional<bool>,
                    std::optional<std::pair<size_t, size_t>>, std::shared_ptr<WorkspacePool>,
                    size_t>(),
           py::arg("trace"), py::arg("weight_slot").noconvert(), py::arg("supernodes") = py::none(),
           py::arg("blocks") = py::none(), py::arg("workspaces") = py::none(),
           py::arg("n_threads") = 1)
      .def_property_readonly("n_in_supernodes", &PyFactorPlan::n_in_supernodes)
      .def("factor", &PyFactorPlan::factor, py::arg("weight").noconvert(), py::arg("n_threads"));

  py::class_<PyFactor>(module, "Factor")
      .def_property_readonly("failed", &PyFactor::failed)
      .def("solve", &PyFactor::solve, py::arg("x").noconvert(), py::arg("transpose") = false);
}
