// Objects by number. A handler of XLA is handed nothing but its operands, and with a number in
// place of an address a call that outlives its object fails instead of crashing.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <unordered_map>

namespace phasic_mpi {

/// The next number after `last`, which it becomes.
inline uint32_t next_number(uint32_t& last, const char* what) {
  if (last == std::numeric_limits<uint32_t>::max()) {
    throw std::length_error(std::string("all 32-bit numbers of ") + what + " are used up");
  }
  return ++last;
}

/// The live objects of a kind. All functions may be called from any thread at any time.
template <class T>
class Registry {
 public:
  /// Never destroyed: threads of XLA may ask for an object while the process ends.
  static Registry& instance() {
    static Registry& all = *new Registry;
    return all;
  }

  /// A number above 0 that nothing else of this kind has had.
  uint32_t new_id() {
    const std::lock_guard lock(mutex_);
    return next_number(last_id_, "objects of one kind");
  }

  void add(uint32_t id, const std::shared_ptr<T>& object) {
    const std::lock_guard lock(mutex_);
    objects_.emplace(id, object);
  }

  void remove(uint32_t id) {
    const std::lock_guard lock(mutex_);
    objects_.erase(id);
  }

  /// The live object of that number, or null.
  std::shared_ptr<T> find(uint32_t id) {
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(id);
    return found == objects_.end() ? nullptr : found->second.lock();
  }

 private:
  std::mutex mutex_;
  uint32_t last_id_ = 0;
  std::unordered_map<uint32_t, std::weak_ptr<T>> objects_;
};

}  // namespace phasic_mpi
