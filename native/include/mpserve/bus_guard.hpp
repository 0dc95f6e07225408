// Keeps this process alive when somebody cuts off a file that it has mapped.
//
// A page of a shared mapping whose file became shorter, or which /dev/shm has no room for, raises
// SIGBUS at whoever touches it: a model's own code, NumPy, a copy of ours. The handler puts zeroed
// private memory in the place of all pages from there to the end of the mapping and marks the
// mapping as broken; the instruction is then run again and goes on. Whoever owns the mapping looks
// at the mark before it trusts what was read or written.
//
// Guarantees: only addresses in a guarded mapping are mended; any other SIGBUS is passed on to who
//   handled it before.
// Assumes: mappings are made and dropped by threads that do not touch each other's. The table and
//   the handler are the process's: a signal has no other place (the one exception from "no
//   globals"). A child that is forked keeps both, and its own copy of the marks.
// Owner: ClientRegion (client_region.hpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace mpserve::bus_guard {

inline constexpr std::uint32_t kMaxMappings = 4096;
inline constexpr std::uint32_t kNoEntry = UINT32_MAX;

// Guards a mapping; `kNoEntry` when the table is full or the handler can not be set.
std::uint32_t guard(const std::byte* base, std::size_t bytes) noexcept;
// Before the mapping is dropped.
void release(std::uint32_t entry) noexcept;
bool is_broken(std::uint32_t entry) noexcept;
// Sets the handler again when a library has set its own since; false when that fails.
bool arm() noexcept;

}  // namespace mpserve::bus_guard
