#include "mpserve/bus_guard.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>

namespace mpserve::bus_guard {

namespace {

// `end` is stored last and cleared first: 0 means that the entry is free, or not to be looked at.
struct Entry {
    std::atomic<std::uintptr_t> begin{0};
    std::atomic<std::uintptr_t> end{0};
    std::atomic<std::uint32_t> taken{0};
    std::atomic<std::uint32_t> broken{0};
};
static_assert(std::atomic<std::uintptr_t>::is_always_lock_free);

std::array<Entry, kMaxMappings> entries;
std::atomic<std::uint32_t> highest{0};  // entries at and above were never taken
struct sigaction previous{};

bool mend(std::uintptr_t address) noexcept {
    const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
    const auto count = highest.load(std::memory_order_acquire);  // pairs with guard()
    for (std::uint32_t index = 0; index < count; ++index) {
        auto& entry = entries[index];
        const auto end = entry.end.load(std::memory_order_acquire);  // pairs with guard()
        const auto begin = entry.begin.load(std::memory_order_relaxed);
        if (address < begin || address >= end) continue;
        const auto from = address & ~(page - 1);
        auto* place = reinterpret_cast<void*>(from);
        if (mmap(place, end - from, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED) {
            return false;
        }
        entry.broken.store(1, std::memory_order_release);
        return true;
    }
    return false;
}

void on_bus_error(int number, siginfo_t* information, void* context) {
    const int kept = errno;
    // A signal that somebody sent tells no address.
    const bool mended =
        information->si_code > 0 && mend(reinterpret_cast<std::uintptr_t>(information->si_addr));
    errno = kept;
    if (mended) return;
    if ((previous.sa_flags & SA_SIGINFO) != 0 && previous.sa_sigaction != nullptr) {
        previous.sa_sigaction(number, information, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(number);
    } else {
        // The instruction is run again and ends the process, as it would have without us.
        std::signal(number, SIG_DFL);
    }
}

}  // namespace

bool arm() noexcept {
    struct sigaction now{};
    if (sigaction(SIGBUS, nullptr, &now) != 0) return false;
    if ((now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == &on_bus_error) return true;
    previous = now;
    struct sigaction ours{};
    ours.sa_sigaction = &on_bus_error;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&ours.sa_mask);
    return sigaction(SIGBUS, &ours, nullptr) == 0;
}

std::uint32_t guard(const std::byte* base, std::size_t bytes) noexcept {
    if (!arm()) return kNoEntry;
    for (std::uint32_t index = 0; index < kMaxMappings; ++index) {
        auto& entry = entries[index];
        std::uint32_t free = 0;
        if (!entry.taken.compare_exchange_strong(free, 1, std::memory_order_acq_rel)) continue;
        entry.broken.store(0, std::memory_order_relaxed);
        const auto begin = reinterpret_cast<std::uintptr_t>(base);
        entry.begin.store(begin, std::memory_order_relaxed);
        entry.end.store(begin + bytes, std::memory_order_release);  // pairs with mend()
        auto seen = highest.load(std::memory_order_relaxed);
        while (seen <= index &&
               !highest.compare_exchange_weak(seen, index + 1, std::memory_order_release)) {
        }
        return index;
    }
    return kNoEntry;
}

void release(std::uint32_t index) noexcept {
    auto& entry = entries[index];
    entry.end.store(0, std::memory_order_release);
    entry.taken.store(0, std::memory_order_release);
}

bool is_broken(std::uint32_t index) noexcept {
    return entries[index].broken.load(std::memory_order_acquire) != 0;
}

}  // namespace mpserve::bus_guard
