// Outcome of an operation of the core. Python reads these names from the compiled module.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

namespace phasic_mpi {

enum class Status : int32_t {
  ok = 0,
  cancelled = 1,
  out_of_memory = 2,
  bad_index = 3,
};

inline constexpr std::array<std::pair<Status, const char*>, 4> kStatusNames{{
    {Status::ok, "ok"},
    {Status::cancelled, "cancelled"},
    {Status::out_of_memory, "out of memory"},
    {Status::bad_index, "row pointer or column out of range"},
}};

}  // namespace phasic_mpi
