// Frontends and instances over one queue and real arenas, killed at random instants.
//
// Proven here: nobody who lives waits for ever (no hang, no lost wake-up), each request of a living
// frontend is answered once, and when all is quiet no slot and no block is lost.

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include "check.hpp"
#include "fixed_source.hpp"
#include "killed_processes.hpp"
#include "mpserve/arena.hpp"
#include "shared_memory.hpp"

using namespace mpserve;
using namespace mpserve::check;

namespace {

constexpr std::uint32_t kWorkers = 3;
constexpr std::uint64_t kArenaBytes = 1 << 20;
constexpr std::uint32_t kOutstanding = 24;
constexpr std::array<std::uint32_t, 1> kPreferredRows{3};
// With a delay, so that instances die while they wait for company too.
constexpr BatchRule kRule{
    .max_rows = 4, .max_requests = 4, .max_delay_ns = 300'000, .preferred_rows = kPreferredRows};

// Nobody else maps its arena: the stress checks the accounting of blocks by reference only. Each
// side lends, and gives back by message.
[[noreturn]] void run_frontend(SharedQueue& shared, std::uint32_t index, std::uint32_t epoch,
                               std::mt19937_64 random, WakeRule rule) {
    const SharedMemory memory(kArenaBytes);
    FixedSource source(memory.segment());
    Arena arena(source, kArenaBytes, kArenaBytes);
    struct Question {
        std::uint64_t token;
        BlockRef block;
    };
    std::vector<Question> asked;
    std::vector<QueuePush> pending;
    std::array<Completion, 16> answers;
    std::uint64_t next_token = 1;
    Attention attention{};
    std::uint64_t attend_ns = 0;
    for (;;) {
        const bool finish = shared.must_finish();
        while (!finish && asked.size() < kOutstanding && random() % 4 != 0) {
            const auto block = arena.allocate(64 + random() % 512);
            if (!block) break;
            QueueRequest request{};
            request.token = next_token++;
            request.block = block.ref;
            request.rows = 1;
            asked.push_back({request.token, block.ref});
            pending.push_back({.request = request});
        }
        if (!pending.empty()) {
            const auto outcome =
                shared.queue.push(pending, frontend_process(index), epoch, index, now_ns(), rule);
            if (outcome.unattended && !attention.waits) {
                attention = {.waits = true, .taken = outcome.taken};
                attend_ns = now_ns() + kAttendNs;
            }
            pending.erase(pending.begin(), pending.begin() + outcome.handled);
        }
        if (attention.waits && now_ns() >= attend_ns) {
            attention = shared.queue.attend(attention.taken);
            attend_ns = now_ns() + kAttendNs;
        }
        if (asked.empty() && finish) break;
        const auto count = shared.rings[index].pop(answers);
        for (std::size_t at = 0; at < count; ++at) {
            const auto& answer = answers[at];
            if (answer.frontend_epoch != epoch) continue;  // of a predecessor
            const auto found = std::find_if(asked.begin(), asked.end(), [&](const auto& question) {
                return question.token == answer.token;
            });
            if (found == asked.end()) {
                // Answered by the worker, and once more by the reaper because the worker died
                // before it freed the slot. Never twice with a result.
                if (answer.token >= next_token) _exit(kWrong);
                continue;
            }
            arena.release(found->block);
            asked.erase(found);
        }
        if (count != 0 || asked.empty()) continue;
        if (attention.waits) {
            shared.wait_a_moment(index);
        } else {
            shared.wait_for_answers(index);
        }
    }
    _exit(arena.blocks() == 0 ? kFinished : kLeak);
}

[[noreturn]] void run_worker(SharedQueue& shared, std::uint32_t index, std::uint32_t epoch,
                             std::mt19937_64 random) {
    shared.queue.activate(index, worker_process(index), epoch);
    std::vector<std::uint32_t> done;
    std::array<PoppedRequest, 4> places;
    for (;;) {
        for (const auto& request : shared.take(index, kRule, done, places, random)) {
            shared.answer(request, Status::ok);
            done.push_back(request.slot);
        }
    }
}

[[noreturn]] void wake_for_each(SharedQueue& shared, std::uint32_t index, std::uint32_t epoch,
                                std::mt19937_64 random) {
    run_frontend(shared, index, epoch, random, WakeRule::all);
}

[[noreturn]] void wake_what_pays(SharedQueue& shared, std::uint32_t index, std::uint32_t epoch,
                                 std::mt19937_64 random) {
    run_frontend(shared, index, epoch, random, WakeRule::worth);
}

// One by one, usually quickly, and now and then not.
[[noreturn]] void run_quick_worker(SharedQueue& shared, std::uint32_t index, std::uint32_t epoch,
                                   std::mt19937_64 random) {
    shared.queue.activate(index, worker_process(index), epoch);
    std::vector<std::uint32_t> done;
    std::array<PoppedRequest, 1> place;
    for (;;) {
        for (const auto& request : shared.take(index, {}, done, place, random)) {
            if (random() % 64 == 0) usleep(5'000);
            shared.answer(request, Status::ok);
            done.push_back(request.slot);
        }
    }
}

}  // namespace

TEST_CASE(killing_anybody_at_any_time_leaves_no_hang_no_lost_answer_and_no_lost_slot) {
    SharedQueue shared(kWorkers, SequenceRule{});
    KillingSupervisor supervisor(shared, kWorkers, wake_for_each, run_worker, check::seed());
    if (!supervisor.kill_again_and_again(check::rounds(300))) return;
    supervisor.end_frontends();
    supervisor.end_workers();
}

TEST_CASE(the_same_when_no_more_are_woken_than_pay) {
    SharedQueue shared(kWorkers, SequenceRule{});
    KillingSupervisor supervisor(shared, kWorkers, wake_what_pays, run_quick_worker, check::seed());
    if (!supervisor.kill_again_and_again(check::rounds(300))) return;
    supervisor.end_frontends();
    supervisor.end_workers();
}

int main() { return mpserve::check::run_all(); }
