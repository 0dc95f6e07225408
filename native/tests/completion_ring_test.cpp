#include "mpserve/completion_ring.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <thread>
#include <vector>

#include "check.hpp"
#include "mpserve/wake.hpp"
#include "shared_memory.hpp"

using namespace mpserve;
using mpserve::check::SharedMemory;

namespace {

constexpr std::uint32_t kCapacity = 8;

struct Fixture {
    explicit Fixture(std::uint32_t capacity = kCapacity)
        : memory(CompletionRing::required_bytes(capacity)) {
        CHECK(ring.format(memory.segment(), capacity));
    }
    SharedMemory memory;
    CompletionRing ring;
};

Completion completion(std::uint64_t token) {
    Completion entry{};
    entry.token = token;
    return entry;
}

bool push(CompletionRing& ring, std::uint64_t token, bool& wake) {
    const auto entry = completion(token);
    return ring.push({&entry, 1}, wake) == 1;
}

}  // namespace

TEST_CASE(entries_come_out_in_push_order_around_the_end_of_the_ring) {
    Fixture f;
    std::array<Completion, 3> out;
    std::uint64_t expected = 0;
    bool wake = false;
    for (std::uint64_t token = 0; token < 30; token += 3) {
        for (std::uint64_t index = 0; index < 3; ++index) CHECK(push(f.ring, token + index, wake));
        CHECK_EQUAL(f.ring.pop(out), std::size_t{3});
        for (const auto& entry : out) CHECK_EQUAL(entry.token, expected++);
    }
    CHECK_EQUAL(f.ring.pop(out), std::size_t{0});
}

TEST_CASE(a_full_ring_takes_only_what_fits) {
    Fixture f;
    std::vector<Completion> many(kCapacity + 4);
    bool wake = false;
    CHECK_EQUAL(f.ring.push(many, wake), std::size_t{kCapacity});
    CHECK_EQUAL(f.ring.push(many, wake), std::size_t{0});
}

TEST_CASE(only_a_consumer_that_announced_sleep_is_woken_and_only_once) {
    Fixture f;
    bool wake = true;
    push(f.ring, 1, wake);
    CHECK(!wake);
    CHECK(!f.ring.arm());  // something waits: it must not sleep
    push(f.ring, 2, wake);
    CHECK(wake);
    push(f.ring, 3, wake);
    CHECK(!wake);
}

TEST_CASE(a_capacity_that_is_no_power_of_two_is_refused) {
    SharedMemory memory(CompletionRing::required_bytes(8));
    CompletionRing ring;
    CHECK(!ring.format(memory.segment(), 6));
    CHECK(!ring.format(memory.segment(), 16));
}

// With threads, so that the thread sanitizer sees it.
TEST_CASE(no_entry_and_no_wake_up_is_lost_between_many_producers_and_a_sleeper) {
    constexpr std::uint64_t kEach = 5000;
    Fixture f(64);
    const int fd = eventfd(0, EFD_NONBLOCK);
    std::vector<std::thread> producers;
    for (std::uint64_t producer = 0; producer < 3; ++producer) {
        producers.emplace_back([&, producer] {
            for (std::uint64_t index = 0; index < kEach;) {
                bool wake = false;
                if (push(f.ring, producer * kEach + index, wake)) {
                    ++index;
                } else {
                    std::this_thread::yield();
                }
                if (wake) eventfd_signal(fd);
            }
        });
    }
    std::vector<int> times(3 * kEach, 0);
    std::array<Completion, 16> out;
    bool slept_in_vain = false;
    for (std::uint64_t seen = 0; seen < 3 * kEach && !slept_in_vain;) {
        const auto count = f.ring.pop(out);
        for (std::size_t index = 0; index < count; ++index) ++times[out[index].token];
        seen += count;
        if (count == 0 && f.ring.arm()) {
            pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
            slept_in_vain = poll(&waiting, 1, 20'000) == 0;
            eventfd_drain(fd);
        }
    }
    CHECK(!slept_in_vain);
    for (auto& producer : producers) producer.join();
    CHECK(std::all_of(times.begin(), times.end(), [](int count) { return count == 1; }));
    close(fd);
}

int main() { return mpserve::check::run_all(); }
