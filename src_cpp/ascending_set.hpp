// A set of small numbers that is emptied from its least member upwards.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace phasic_mpi {

/// Numbers from 0 to n - 1 as bits, with a bit for each word that has any. Taking the least members
/// while larger ones come in is cheap; inserting less than what was taken is merely slower.
class AscendingSet {
 public:
  static constexpr int32_t kNone = -1;

  explicit AscendingSet(int32_t n)
      : word_(static_cast<size_t>(n) / 64 + 1, 0), filled_(word_.size() / 64 + 1, 0) {}

  void insert(int32_t member) {
    const auto number = static_cast<size_t>(member);
    word_[number / 64] |= uint64_t{1} << (number % 64);
    filled_[number / 4096] |= uint64_t{1} << (number / 64 % 64);
    begin_ = std::min(begin_, number / 4096);
  }

  /// The least member, or kNone.
  [[nodiscard]] int32_t least() {
    const size_t word = first_filled();
    if (word == word_.size()) return kNone;
    return static_cast<int32_t>(word * 64) + std::countr_zero(word_[word]);
  }

  /// Removes all members up to `last`.
  void remove_up_to(int32_t last) {
    const auto number = static_cast<size_t>(last);
    for (size_t word = first_filled(); word < number / 64; word = first_filled()) clear(word);
    if (word_[number / 64] == 0) return;
    word_[number / 64] &= ~uint64_t{1} << (number % 64);
    if (word_[number / 64] == 0) clear(number / 64);
  }

  /// Moves all members, less `shift`, to the end of `out`.
  void drain(int32_t shift, std::vector<int32_t>& out) {
    for (size_t word = first_filled(); word != word_.size(); word = first_filled()) {
      const int32_t base = static_cast<int32_t>(word * 64) - shift;
      size_t end = out.size();
      out.resize(end + static_cast<size_t>(std::popcount(word_[word])));
      for (uint64_t bits = word_[word]; bits != 0; bits &= bits - 1) {
        out[end++] = base + std::countr_zero(bits);
      }
      clear(word);
    }
  }

  void clear() {
    for (size_t word = first_filled(); word != word_.size(); word = first_filled()) clear(word);
  }

 private:
  /// The first word with members, or the number of words.
  size_t first_filled() {
    while (begin_ < filled_.size() && filled_[begin_] == 0) ++begin_;
    if (begin_ == filled_.size()) return word_.size();
    return begin_ * 64 + static_cast<size_t>(std::countr_zero(filled_[begin_]));
  }

  void clear(size_t word) {
    word_[word] = 0;
    filled_[word / 64] &= ~(uint64_t{1} << (word % 64));
  }

  std::vector<uint64_t> word_;
  std::vector<uint64_t> filled_;  // one bit per word
  size_t begin_ = 0;              // no word of filled_ before it has a bit
};

}  // namespace phasic_mpi
