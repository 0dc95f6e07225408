#include "mpserve/wake.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

namespace mpserve {

namespace {

long futex(const std::atomic<std::uint32_t>& word, int operation, std::uint32_t value,
           const timespec* timeout) noexcept {
    return syscall(SYS_futex, reinterpret_cast<const std::uint32_t*>(&word), operation, value,
                   timeout, nullptr, 0);
}

}  // namespace

std::uint64_t now_ns() noexcept {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000ULL +
           static_cast<std::uint64_t>(now.tv_nsec);
}

void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t seen,
                std::uint64_t timeout_ns) noexcept {
    timespec timeout{};
    timeout.tv_sec = static_cast<time_t>(timeout_ns / 1'000'000'000ULL);
    timeout.tv_nsec = static_cast<long>(timeout_ns % 1'000'000'000ULL);
    futex(word, FUTEX_WAIT, seen, &timeout);
}

void futex_wake(std::atomic<std::uint32_t>& word) noexcept {
    futex(word, FUTEX_WAKE, INT_MAX, nullptr);
}

bool eventfd_signal(int fd) noexcept {
    const std::uint64_t one = 1;
    return write(fd, &one, sizeof one) == sizeof one || errno == EAGAIN;
}

void eventfd_drain(int fd) noexcept {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto got = read(fd, &count, sizeof count);
}

}  // namespace mpserve
