// Further requests of a stream: how they pass through the slot of a queue.

#include <thread>

#include "check.hpp"
#include "mpserve/model_queue.hpp"
#include "mpserve/wake.hpp"
#include "shared_memory.hpp"

using namespace mpserve;
using mpserve::check::SharedMemory;

namespace {

constexpr std::uint32_t kFrontend = 1;
constexpr std::uint32_t kEpoch = 3;
constexpr std::uint64_t kToken = 7;
constexpr std::uint64_t kBlock = 0x1234;
constexpr std::uint64_t kDeadlineNs = 20'000'000'000;

// A queue whose only instance runs one stream.
struct Fixture {
    Fixture() : memory(ModelQueue::required_bytes(4)) {
        CHECK(queue.format(memory.segment(), 4, 5));
        CHECK(queue.activate(0, 10, 1));
        begin(kToken);
    }
    void begin(std::uint64_t token) {
        QueuePush push{};
        push.request.token = token;
        push.request.rows = 1;
        CHECK_EQUAL(queue.push({&push, 1}, kFrontend, kEpoch, 0).handled, std::uint32_t{1});
        CHECK(pop() == PopOutcome::taken);
        slot = taken.slot;
    }
    PopOutcome pop(std::vector<std::uint32_t> done = {}) {
        std::size_t count = 0;
        std::uint64_t starved = 0;
        return queue.pop(0, {}, done, {&taken, 1}, count, starved, wake_seen);
    }
    bool give(std::uint64_t input) {
        return queue.give_input(slot, kToken, kFrontend, kEpoch, input);
    }
    SharedMemory memory;
    ModelQueue queue;
    PoppedRequest taken{};
    std::uint32_t slot = kNoSlot;
    std::uint32_t wake_seen = 0;
};

}  // namespace

TEST_CASE(what_is_given_is_taken_once) {
    Fixture f;
    CHECK_EQUAL(f.queue.take_input(f.slot), kNoInput);
    CHECK(!f.queue.has_input(f.slot));
    CHECK(f.give(kBlock));
    CHECK(f.queue.has_input(f.slot));
    CHECK_EQUAL(f.queue.take_input(f.slot), kBlock);
    CHECK_EQUAL(f.queue.take_input(f.slot), kNoInput);
    CHECK(f.give(kInputsEnd));
    CHECK_EQUAL(f.queue.take_input(f.slot), kInputsEnd);
}

TEST_CASE(one_at_a_time) {
    Fixture f;
    CHECK(f.give(kBlock));
    CHECK(!f.give(kBlock + 1));
    CHECK(!f.give(kInputsEnd));
    CHECK_EQUAL(f.queue.take_input(f.slot), kBlock);
    CHECK(f.give(kBlock + 1));
}

TEST_CASE(only_its_own_frontend_gives_to_a_stream) {
    Fixture f;
    CHECK(!f.queue.give_input(f.slot, kToken + 1, kFrontend, kEpoch, kBlock));
    CHECK(!f.queue.give_input(f.slot, kToken, kFrontend + 1, kEpoch, kBlock));
    CHECK(!f.queue.give_input(f.slot, kToken, kFrontend, kEpoch + 1, kBlock));
    CHECK(!f.queue.give_input(f.slot + 1, kToken, kFrontend, kEpoch, kBlock));
    CHECK(!f.queue.give_input(kNoSlot, kToken, kFrontend, kEpoch, kBlock));
    CHECK(!f.queue.has_input(f.slot));
}

TEST_CASE(closing_returns_what_was_not_taken_and_lets_nothing_more_in) {
    Fixture f;
    CHECK(f.give(kBlock));
    CHECK_EQUAL(f.queue.close_inputs(f.slot), kBlock);
    CHECK(!f.give(kBlock));
    CHECK_EQUAL(f.queue.close_inputs(f.slot), kInputsClosed);
}

TEST_CASE(a_stream_that_has_ended_takes_nothing_and_leaves_nothing_to_who_comes_next) {
    Fixture f;
    CHECK(f.give(kBlock));
    f.queue.close_inputs(f.slot);
    CHECK(f.pop({f.slot}) == PopOutcome::empty);
    CHECK(!f.give(kBlock));
    const auto first = f.slot;
    f.begin(kToken);
    CHECK_EQUAL(f.slot, first);
    CHECK_EQUAL(f.queue.take_input(f.slot), kNoInput);
    CHECK(f.give(kBlock));
}

TEST_CASE(a_request_that_waits_has_no_inputs) {
    Fixture f;
    QueuePush push{};
    push.request.token = kToken + 1;
    push.request.rows = 1;
    CHECK_EQUAL(f.queue.push({&push, 1}, kFrontend, kEpoch, 0).handled, std::uint32_t{1});
    for (std::uint32_t slot = 0; slot < f.queue.slot_count(); ++slot) {
        CHECK(!f.queue.give_input(slot, kToken + 1, kFrontend, kEpoch, kBlock));
    }
}

TEST_CASE(a_stream_of_a_reaped_worker_takes_nothing) {
    Fixture f;
    CHECK(f.give(kBlock));
    const auto held = f.queue.held_by(0, 1);
    CHECK_EQUAL(held.size(), std::size_t{1});
    std::uint64_t starved = 0;
    f.queue.release_reaped(0, 1, held, starved);
    CHECK(!f.give(kBlock));
    CHECK(f.queue.is_drained());
}

TEST_CASE(an_instance_that_sleeps_is_woken_by_what_is_given_and_by_the_loss_of_its_client) {
    Fixture f;
    for (const bool goes : {false, true}) {
        CHECK(f.pop() == PopOutcome::empty);
        CHECK(!f.queue.has_input(f.slot));
        std::thread client([&] {
            if (goes) {
                f.queue.mark_cancelled(kToken, kFrontend, kEpoch);
            } else {
                CHECK(f.give(kBlock));
            }
        });
        const auto begun = now_ns();
        auto& word = f.queue.wake_word(0);
        while (word.load(std::memory_order_acquire) == f.wake_seen) {
            futex_wait(word, f.wake_seen, kDeadlineNs);
            if (now_ns() - begun >= kDeadlineNs) break;
        }
        CHECK(now_ns() - begun < kDeadlineNs);
        CHECK_EQUAL(f.queue.is_cancelled(f.slot), goes);
        client.join();
        CHECK_EQUAL(f.queue.take_input(f.slot), goes ? kNoInput : kBlock);
    }
}

int main() { return mpserve::check::run_all(); }
