// Distinct states of a process, numbered in the order in which they are first seen.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace phasic_mpi {

/// An open-addressing hash table over packed states.
///
/// The integers of a state are packed into one, two or four bytes each, as few as all states seen
/// so far allow. A state takes these bytes and 12 to 24 bytes of slots (8 bytes a slot, of which a
/// third to two thirds are taken). Packed states lie in pages, so that growth copies none.
class StateTable {
 public:
  /// `length` integers a state, at least 1.
  explicit StateTable(int32_t length);

  [[nodiscard]] int32_t length() const { return length_; }
  [[nodiscard]] int32_t size() const { return size_; }
  [[nodiscard]] size_t nbytes() const;

  /// Writes the number of each state, `states` row by row; states not seen before get the next
  /// numbers. Throws std::length_error if there would be more than 2^31 - 1.
  void insert(std::span<const int32_t> states, std::span<int32_t> number);

  /// Unpacks the states from number `begin` on, as many as `states` has room for.
  void read(int32_t begin, std::span<int32_t> states) const;

 private:
  static constexpr size_t kBatch = 32;
  static constexpr int kPageBits = 12;

  struct Hashed {
    std::array<uint32_t, kBatch> tag;
    uint32_t magnitude = 0;  // its highest bit is that of the integer with the most bits
  };

  [[nodiscard]] uint8_t* row(int32_t number) const;
  [[nodiscard]] Hashed hash_batch(const int32_t* states, size_t n) const;
  [[nodiscard]] size_t home(uint32_t tag) const { return tag >> tag_shift_; }
  int32_t find_or_add(const int32_t* state, uint32_t tag);
  void reserve(size_t n_states);
  void widen(size_t width);

  int32_t length_;
  int32_t size_ = 0;
  size_t width_ = 1;  // bytes of an integer
  int tag_shift_;
  // Upper half: the hash of a state; lower half: its number plus 1, or 0 in an empty slot.
  std::vector<uint64_t> slots_;
  std::vector<std::unique_ptr<uint8_t[]>> pages_;
  std::vector<uint8_t> packed_;  // the state that is looked up
};

}  // namespace phasic_mpi
