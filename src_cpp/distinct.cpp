#include "distinct.hpp"

#include <bit>
#include <cstddef>

namespace phasic_mpi {
namespace {

/// Which of 64 consecutive numbers there are, and how many less than all of them.
struct Word {
  uint64_t members = 0;
  int64_t n_before = 0;
};

}  // namespace

Distinct distinct(std::span<const int64_t> numbers, int64_t end) {
  std::vector<Word> words(static_cast<size_t>(end) / 64 + 1);
  const auto bit = [](int64_t number) { return uint64_t{1} << (number % 64); };
  const auto word_of = [&](int64_t number) -> Word& {
    return words[static_cast<size_t>(number) / 64];
  };
  for (const int64_t number : numbers) word_of(number).members |= bit(number);

  Distinct found;
  int64_t n_before = 0;
  for (Word& word : words) {
    word.n_before = n_before;
    n_before += std::popcount(word.members);
  }
  found.number.reserve(static_cast<size_t>(n_before));
  for (size_t w = 0; w < words.size(); ++w) {
    for (uint64_t left = words[w].members; left != 0; left &= left - 1) {
      found.number.push_back(static_cast<int64_t>(64 * w) + std::countr_zero(left));
    }
  }
  found.index.reserve(numbers.size());
  for (const int64_t number : numbers) {
    const Word& word = word_of(number);
    found.index.push_back(word.n_before + std::popcount(word.members & (bit(number) - 1)));
  }
  return found;
}

}  // namespace phasic_mpi
