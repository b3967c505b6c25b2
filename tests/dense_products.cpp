// Products of dense panels, by every instruction set that this machine has, beside sums of fused
// products one by one. Prints the names of those that had the same bits; reading too far ends it.
#include "../src_cpp/dense_products.cpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace phasic_mpi {
namespace {

/// Numbers behind which no other can be read.
class Guarded {
 public:
  explicit Guarded(size_t n) : n_(n) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    n_bytes_ = (n * sizeof(double) + page - 1) / page * page + page;
    void* const pages =
        mmap(nullptr, n_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) std::abort();
    pages_ = static_cast<char*>(pages);
    if (mprotect(pages_ + n_bytes_ - page, page, PROT_NONE) != 0) std::abort();
    numbers_ = reinterpret_cast<double*>(pages_ + n_bytes_ - page) - n;
  }
  ~Guarded() { munmap(pages_, n_bytes_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  [[nodiscard]] double* begin() const { return numbers_; }
  [[nodiscard]] double* end() const { return numbers_ + n_; }

 private:
  size_t n_;
  size_t n_bytes_ = 0;
  char* pages_ = nullptr;
  double* numbers_ = nullptr;
};

/// A target with its factors; rows and columns of the target lie side by side or apart.
struct Case {
  Case(size_t depth, size_t n_rows, size_t n_columns, size_t gap, bool only_behind)
      : left((depth - 1) * kStride + n_rows),
        right((depth - 1) * kStride + n_columns + DenseProducts::kBehind) {
    std::mt19937_64 random(depth + 1000 * n_rows + 100000 * n_columns);
    std::uniform_real_distribution<double> number(0.0, 1.0);
    for (const Guarded* numbers : {&left, &right}) {
      for (double& factor : *numbers) factor = number(random);
    }
    for (size_t i = 0; i < n_rows; ++i)
      rows.push_back(static_cast<int32_t>(i * std::max<size_t>(gap, 1)));
    for (size_t i = 0; i < n_columns; ++i) columns.push_back(static_cast<int32_t>(i + i / 5 * gap));
    target.resize((at(rows.back()) + 1) * kStride);
    for (double& sum : target) sum = number(random);
    products = {
        left.begin(),   right.begin(), kStride,       kStride, depth,
        n_rows,         n_columns,     target.data(), kStride, gap > 0 ? rows.data() : nullptr,
        columns.data(), only_behind};
    if (gap == 0) products.columns = nullptr;
  }
  Case(const Case&) = delete;
  Case& operator=(const Case&) = delete;

  [[nodiscard]] size_t row(size_t r) const { return products.rows == nullptr ? r : at(rows[r]); }
  [[nodiscard]] size_t column(size_t c) const {
    return products.columns == nullptr ? c : at(columns[c]);
  }
  static size_t at(int32_t index) { return static_cast<size_t>(index); }

  /// The target as it should be.
  [[nodiscard]] std::vector<double> expected(bool fused) const {
    std::vector<double> out = target;
    for (size_t r = 0; r < products.n_rows; ++r) {
      for (size_t c = 0; c < products.n_columns; ++c) {
        double& sum = out[row(r) * kStride + column(c)];
        for (size_t k = 0; k < products.depth; ++k) {
          const double a = left.begin()[k * kStride + r];
          const double b = right.begin()[k * kStride + c];
          sum = fused ? std::fma(a, b, sum) : sum + a * b;
        }
      }
    }
    return out;
  }

  static constexpr size_t kStride = 136;
  Guarded left, right;
  std::vector<double> target;
  std::vector<int32_t> rows, columns;
  DenseProducts products{};
};

void check(const char* name, Add add, bool fused) {
  std::vector<double> room(DenseProducts::kRoom);
  for (const size_t depth : {1, 9, 33}) {
    for (const size_t n_rows : {1, 2, 3, 7, 8, 12, 17, 31, 45}) {
      for (const size_t n_columns : {1, 3, 8, 15, 17, 32, 33, 64, 67}) {
        for (const size_t gap : {0, 1, 2}) {
          for (const bool only_behind : {false, true}) {
            Case own(depth, n_rows, n_columns, gap, only_behind);
            const std::vector<double> expected = own.expected(fused);
            add(own.products, room.data());
            for (size_t r = 0; r < n_rows; ++r) {
              for (size_t c = 0; c < n_columns; ++c) {
                // What is before the diagonal may be added or not.
                if (only_behind && own.column(c) <= own.row(r)) continue;
                const size_t place = own.row(r) * Case::kStride + own.column(c);
                if (std::memcmp(&own.target[place], &expected[place], sizeof(double)) != 0) {
                  std::printf("%s: depth %zu, row %zu of %zu, column %zu of %zu, gap %zu\n", name,
                              depth, r, n_rows, c, n_columns, gap);
                  std::exit(1);
                }
              }
            }
          }
        }
      }
    }
  }
  std::printf("%s\n", name);
}

}  // namespace
}  // namespace phasic_mpi

int main() {
  using namespace phasic_mpi;
  check("portable", add_portably, kAlwaysFused);
#ifdef PHASIC_MPI_HAS_AVX
  if (has_avx2()) check("avx2", add_by_avx2, true);
  if (has_avx2() && __builtin_cpu_supports("avx512f") != 0) {
    check("avx512", add_by_avx512, true);
    check("narrow avx512", add_by_narrow_avx512, true);
  }
#endif
}
