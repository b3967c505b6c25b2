#include "state_table.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace phasic_mpi {
namespace {

constexpr int kFirstSlotBits = 10;
constexpr int kTagBits = 32;

template <typename Packed>
void pack_as(const int32_t* state, size_t length, uint8_t* bytes) {
  for (size_t i = 0; i < length; ++i) {
    const auto value = static_cast<Packed>(state[i]);
    std::memcpy(bytes + i * sizeof(Packed), &value, sizeof(Packed));
  }
}

template <typename Packed>
void unpack_from(const uint8_t* bytes, size_t length, int32_t* state) {
  for (size_t i = 0; i < length; ++i) {
    Packed value;
    std::memcpy(&value, bytes + i * sizeof(Packed), sizeof(Packed));
    state[i] = value;
  }
}

void pack(const int32_t* state, size_t length, size_t width, uint8_t* bytes) {
  switch (width) {
    case 1:
      return pack_as<int8_t>(state, length, bytes);
    case 2:
      return pack_as<int16_t>(state, length, bytes);
    default:
      return pack_as<int32_t>(state, length, bytes);
  }
}

void unpack(const uint8_t* bytes, size_t length, size_t width, int32_t* state) {
  switch (width) {
    case 1:
      return unpack_from<int8_t>(bytes, length, state);
    case 2:
      return unpack_from<int16_t>(bytes, length, state);
    default:
      return unpack_from<int32_t>(bytes, length, state);
  }
}

/// Bytes that hold an integer of so many bits and its sign.
size_t width_of(uint32_t magnitude) {
  const int bits = std::bit_width(magnitude) + 1;
  return bits <= 8 ? 1 : bits <= 16 ? 2 : 4;
}

/// Multiplies and folds, element by element; the upper half depends on every bit.
uint32_t hash_of(const int32_t* state, size_t length) {
  uint64_t hash = 0x243f6a8885a308d3U;
  for (size_t i = 0; i < length; ++i) {
    hash = (hash ^ static_cast<uint32_t>(state[i])) * 0x9e3779b97f4a7c15U;
    hash ^= hash >> 32;
  }
  return static_cast<uint32_t>((hash * 0xd6e8feb86659fd93U) >> 32);
}

}  // namespace

StateTable::StateTable(int32_t length)
    : length_(length),
      tag_shift_(kTagBits - kFirstSlotBits),
      slots_(size_t{1} << kFirstSlotBits),
      packed_(static_cast<size_t>(length) * sizeof(int32_t)) {
  if (length < 1) throw std::invalid_argument("expected states of at least one integer");
}

size_t StateTable::nbytes() const {
  const size_t page_bytes = (static_cast<size_t>(length_) * width_) << kPageBits;
  return slots_.size() * sizeof(uint64_t) + pages_.size() * page_bytes;
}

uint8_t* StateTable::row(int32_t number) const {
  const auto index = static_cast<size_t>(number);
  const size_t in_page = index & ((size_t{1} << kPageBits) - 1);
  return pages_[index >> kPageBits].get() + in_page * static_cast<size_t>(length_) * width_;
}

StateTable::Hashed StateTable::hash_batch(const int32_t* states, size_t n) const {
  const auto length = static_cast<size_t>(length_);
  Hashed out;
  for (size_t i = 0; i < n; ++i) {
    const int32_t* state = states + i * length;
    out.tag[i] = hash_of(state, length);
    __builtin_prefetch(&slots_[home(out.tag[i])]);
    for (size_t j = 0; j < length; ++j) {
      out.magnitude |= static_cast<uint32_t>(state[j] ^ (state[j] >> 31));
    }
  }
  return out;
}

void StateTable::insert(std::span<const int32_t> states, std::span<int32_t> number) {
  const auto length = static_cast<size_t>(length_);
  if (states.size() != number.size() * length) {
    throw std::invalid_argument("expected one number per state");
  }
  for (size_t begin = 0; begin < number.size(); begin += kBatch) {
    const size_t n = std::min(kBatch, number.size() - begin);
    const int32_t* batch = states.data() + begin * length;
    reserve(static_cast<size_t>(size_) + n);
    const Hashed hashed = hash_batch(batch, n);
    if (width_of(hashed.magnitude) > width_) widen(width_of(hashed.magnitude));
    for (size_t i = 0; i < n; ++i) {
      const uint64_t slot = slots_[home(hashed.tag[i])];
      if (slot != 0) __builtin_prefetch(row(static_cast<int32_t>(static_cast<uint32_t>(slot) - 1)));
    }
    for (size_t i = 0; i < n; ++i) {
      number[begin + i] = find_or_add(batch + i * length, hashed.tag[i]);
    }
  }
}

int32_t StateTable::find_or_add(const int32_t* state, uint32_t tag) {
  const auto length = static_cast<size_t>(length_);
  const size_t n_bytes = length * width_;
  const size_t mask = slots_.size() - 1;
  pack(state, length, width_, packed_.data());
  size_t place = home(tag);
  for (; slots_[place] != 0; place = (place + 1) & mask) {
    if (slots_[place] >> 32 != tag) continue;
    const auto found = static_cast<int32_t>(static_cast<uint32_t>(slots_[place]) - 1);
    if (std::memcmp(row(found), packed_.data(), n_bytes) == 0) return found;
  }
  if (size_ == std::numeric_limits<int32_t>::max()) throw std::length_error("too many states");
  if (static_cast<size_t>(size_) >> kPageBits == pages_.size()) {
    pages_.push_back(std::make_unique_for_overwrite<uint8_t[]>(n_bytes << kPageBits));
  }
  std::memcpy(row(size_), packed_.data(), n_bytes);
  slots_[place] = (uint64_t{tag} << 32) | (static_cast<uint32_t>(size_) + 1);
  return size_++;
}

void StateTable::reserve(size_t n_states) {
  if (3 * n_states <= 2 * slots_.size()) return;
  std::vector<uint64_t> larger(2 * slots_.size());
  --tag_shift_;
  const size_t mask = larger.size() - 1;
  for (const uint64_t slot : slots_) {
    if (slot == 0) continue;
    size_t place = home(static_cast<uint32_t>(slot >> 32));
    while (larger[place] != 0) place = (place + 1) & mask;
    larger[place] = slot;
  }
  slots_ = std::move(larger);
}

void StateTable::widen(size_t width) {
  const auto length = static_cast<size_t>(length_);
  std::vector<int32_t> state(length);
  for (auto& page : pages_) {
    auto wider = std::make_unique_for_overwrite<uint8_t[]>((length * width) << kPageBits);
    for (size_t i = 0; i < size_t{1} << kPageBits; ++i) {
      unpack(page.get() + i * length * width_, length, width_, state.data());
      pack(state.data(), length, width, wider.get() + i * length * width);
    }
    page = std::move(wider);
  }
  width_ = width;
}

void StateTable::read(int32_t begin, std::span<int32_t> states) const {
  const auto length = static_cast<size_t>(length_);
  const size_t n = states.size() / length;
  if (begin < 0 || states.size() != n * length || static_cast<size_t>(begin) + n > size_t(size_)) {
    throw std::invalid_argument("states out of range");
  }
  for (size_t i = 0; i < n; ++i) {
    unpack(row(begin + static_cast<int32_t>(i)), length, width_, states.data() + i * length);
  }
}

}  // namespace phasic_mpi
