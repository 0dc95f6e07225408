// Sleeping and waking across processes: futex words for workers, eventfds for frontends.
//
// Guarantees: no lost wake-up, provided that the sleeper reads the word before it looks for work
// the
//   last time, and the waker changes the word after it made the work visible.
// Assumes: the word lies in memory that both sides map (FUTEX without the PRIVATE flag).
#pragma once

#include <atomic>
#include <cstdint>
#include <ctime>

namespace mpserve {

// Nanoseconds of CLOCK_MONOTONIC.
std::uint64_t now_ns() noexcept;

// Sleeps while `word` holds `seen`, until woken, a signal, or `timeout_ns` passed.
void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t seen,
                std::uint64_t timeout_ns) noexcept;

// Wakes all who sleep on `word`.
void futex_wake(std::atomic<std::uint32_t>& word) noexcept;

// Adds 1 to an eventfd; the reader sees it as readable. A full counter is as good as a wake.
// False when it is no descriptor of that kind (any more).
bool eventfd_signal(int fd) noexcept;

// Reads an eventfd down to zero; it must be non-blocking.
void eventfd_drain(int fd) noexcept;

}  // namespace mpserve
