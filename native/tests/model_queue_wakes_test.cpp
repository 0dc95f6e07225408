// How many instances a push wakes, and that nobody is left waiting beside one that sleeps.
#include <array>
#include <atomic>
#include <bit>
#include <thread>

#include "check.hpp"
#include "mpserve/model_queue.hpp"
#include "shared_memory.hpp"

using namespace mpserve;
using mpserve::check::SharedMemory;

namespace {

constexpr std::uint32_t kSlots = 64;
constexpr std::uint32_t kInstances = 4;
constexpr std::uint64_t kQuick = 5'000;
constexpr std::uint64_t kSlow = 2'000'000;

// Its clock is the test's.
struct Model {
    explicit Model(std::uint64_t usual_ns) : memory(ModelQueue::required_bytes(kSlots)) {
        CHECK(queue.format(memory.segment(), kSlots, 1));
        for (std::uint32_t index = 0; index < kInstances; ++index) {
            CHECK(queue.activate(index, 10 + index, 1));
        }
        for (int execution = 0; execution < 60; ++execution) {
            push(1);
            const auto slots = take(0);
            now += usual_ns;
            CHECK(take(0, slots).empty());
        }
        for (std::uint32_t index = 1; index < kInstances; ++index) CHECK(take(index).empty());
        woken();
    }
    PushOutcome push(std::uint32_t count, WakeRule rule = WakeRule::worth) {
        std::vector<QueuePush> pushes(count);
        for (auto& one : pushes) one.request.rows = 1;
        return queue.push(pushes, 1, 1, 0, now, rule);
    }
    std::vector<std::uint32_t> take(std::uint32_t instance,
                                    const std::vector<std::uint32_t>& done = {}) {
        std::array<PoppedRequest, 1> out;
        std::size_t count = 0;
        std::uint64_t starved = 0;
        std::uint32_t seen = 0;
        queue.pop(instance, {}, done, out, count, starved, seen, now);
        std::vector<std::uint32_t> slots;
        for (std::size_t index = 0; index < count; ++index) slots.push_back(out[index].slot);
        return slots;
    }
    // How many were woken since it was asked last.
    std::uint32_t woken() {
        std::uint32_t count = 0;
        for (std::uint32_t index = 0; index < kInstances; ++index) {
            const auto word = queue.wake_word(index).load();
            if (words[index] != word) ++count;
            words[index] = word;
        }
        return count;
    }

    SharedMemory memory;
    ModelQueue queue;
    std::uint64_t now = 1'000'000'000;
    std::array<std::uint32_t, kInstances> words{};
};

}  // namespace

TEST_CASE(quick_requests_wake_one_that_takes_them_all) {
    Model model(kQuick);
    const auto pushed = model.push(8);
    CHECK_EQUAL(model.woken(), 1U);
    CHECK(pushed.unattended);
    CHECK(model.push(4).unattended);
    CHECK_EQUAL(model.woken(), 0U);
}

TEST_CASE(a_lone_quick_request_wakes_one_and_is_nobodys_care) {
    Model model(kQuick);
    CHECK(!model.push(1).unattended);
    CHECK_EQUAL(model.woken(), 1U);
}

TEST_CASE(more_are_woken_when_more_work_waits) {
    Model model(kQuick);
    model.push(2 * kWorthNs / kQuick);
    CHECK(model.woken() >= 2U);
    model.push(kSlots - 2 * kWorthNs / kQuick);
    CHECK(model.woken() >= 1U);
}

TEST_CASE(slow_requests_wake_one_each) {
    Model model(kSlow);
    CHECK(!model.push(3).unattended);
    CHECK_EQUAL(model.woken(), 3U);
    CHECK(!model.push(3).unattended);
    CHECK_EQUAL(model.woken(), 1U);
}

TEST_CASE(who_looks_after_nothing_wakes_one_each) {
    Model model(kQuick);
    CHECK(!model.push(3, WakeRule::all).unattended);
    CHECK_EQUAL(model.woken(), 3U);
}

TEST_CASE(a_model_that_was_quick_and_is_slow_now_is_found_out) {
    Model model(kQuick);
    for (int execution = 0; execution < 60; ++execution) {
        model.push(1);
        const auto slots = model.take(0);
        model.now += kSlow;
        CHECK(model.take(0, slots).empty());
    }
    model.woken();
    CHECK(!model.push(3).unattended);
    CHECK_EQUAL(model.woken(), 3U);
}

TEST_CASE(a_few_that_were_interrupted_do_not_count) {
    Model model(kQuick);
    for (int execution = 0; execution < 60; ++execution) {
        model.push(1);
        const auto slots = model.take(0);
        model.now += execution % 4 == 0 ? kSlow : kQuick;
        CHECK(model.take(0, slots).empty());
    }
    model.woken();
    model.push(8);
    CHECK_EQUAL(model.woken(), 1U);
}

TEST_CASE(who_looks_after_them_wakes_for_all_when_nothing_was_taken) {
    Model model(kQuick);
    const auto pushed = model.push(8);
    const auto slots = model.take(0);  // and it computes for long
    model.woken();
    const auto first = model.queue.attend(pushed.taken);
    CHECK(first.waits);
    CHECK_EQUAL(model.woken(), 0U);  // something was taken
    CHECK(model.queue.attend(first.taken).waits);
    CHECK_EQUAL(model.woken(), kInstances - 1);
    for (std::uint32_t turn = 0; turn < 7; ++turn) CHECK_EQUAL(model.take(1).size(), 1UL);
    CHECK(!model.queue.attend(first.taken).waits);
}

TEST_CASE(one_that_has_not_come_for_long_is_not_counted_on) {
    Model model(kQuick);
    model.push(1);
    const auto slots = model.take(0);
    model.woken();
    CHECK(model.push(1).unattended);
    CHECK_EQUAL(model.woken(), 0U);
    model.now += 4 * kAttendNs;  // it still computes
    CHECK(!model.push(1).unattended);
    CHECK_EQUAL(model.woken(), 1U);
    CHECK(model.push(1).unattended);  // for the one that was called for
    CHECK_EQUAL(model.woken(), 0U);
}

TEST_CASE(a_dead_one_that_was_counted_on_is_replaced_at_once) {
    Model model(kQuick);
    model.push(8);
    CHECK_EQUAL(model.woken(), 1U);
    std::uint64_t starved = 0;
    model.queue.release_reaped(0, 1, model.queue.held_by(0, 1), starved);
    CHECK_EQUAL(model.woken(), kInstances - 1);
}

TEST_CASE(a_dead_pusher_leaves_nobody_asleep_beside_anothers_requests) {
    Model model(kQuick);
    model.push(8);
    model.woken();
    model.queue.drop_frontend(2, 1);
    CHECK_EQUAL(model.woken(), kInstances);
}

int main() { return mpserve::check::run_all(); }
