// Sequences of frontends and instances that are killed at random instants, also inside the lock.
//
// Proven here: an instance sees each sequence from its first request on, in order, without a hole
// and never mixed with another; nobody who lives waits for ever; when all is quiet no slot is
// taken.
//
// A token says who asks, which sequence and which step of it.

#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <vector>

#include "check.hpp"
#include "killed_processes.hpp"

using namespace mpserve;
using namespace mpserve::check;

namespace {

constexpr std::uint32_t kWorkers = 2;
constexpr std::uint32_t kSequences = 6;  // of each frontend; more than there are slots for
constexpr std::uint64_t kIdleNs = 20'000'000;
constexpr SequenceRule kRule{.slots = 2, .idle_ns = kIdleNs};
constexpr std::uint64_t kSteps = 1 << 16;

// One client: asks for one step at a time, and starts again when its sequence is gone.
struct Client {
    std::uint64_t id = 0;
    std::uint64_t step = 0;
    std::uint64_t length = 0;
    bool asked = false;

    bool is_last() const { return step + 1 == length; }
};

[[noreturn]] void run_frontend(SharedQueue& shared, std::uint32_t index, std::uint32_t epoch,
                               std::mt19937_64 random) {
    std::array<Client, kSequences> clients;
    std::uint64_t next_id = (std::uint64_t{epoch} * kFrontends + index) << 20;
    const auto begin = [&](Client& client) {
        client = {.id = ++next_id, .step = 0, .length = 1 + random() % 6, .asked = false};
    };
    for (auto& client : clients) begin(client);
    std::array<Completion, 16> answers;
    for (;;) {
        const bool finish = shared.must_finish();
        bool any = false;
        for (auto& client : clients) {
            while (!client.asked && !(finish && client.step == 0) && random() % 8 != 0) {
                SequencedRequest request{};
                request.request.token = client.id * kSteps + client.step;
                request.request.rows = 1;
                CHECK(request.mark.key.set(client.id, {}));
                request.mark.flags =
                    (client.step == 0 ? kSequenceStart : 0) | (client.is_last() ? kSequenceEnd : 0);
                const auto outcome = shared.queue.push_sequenced(
                    {&request, 1}, frontend_process(index), epoch, index);
                client.asked = outcome.pushed == 1;
                if (outcome.full || outcome.refused == SequenceRefusal::no_room) break;
                if (!client.asked) begin(client);
            }
            any = any || client.asked;
        }
        const bool is_over =
            std::ranges::all_of(clients, [](const Client& one) { return one.step == 0; });
        if (finish && !any && is_over) _exit(kFinished);
        const auto count = shared.rings[index].pop(answers);
        for (std::size_t at = 0; at < count; ++at) {
            if (answers[at].frontend_epoch != epoch) continue;  // of a predecessor
            const auto found = std::ranges::find_if(clients, [&](const Client& one) {
                return one.asked && one.id * kSteps + one.step == answers[at].token;
            });
            if (found == clients.end()) continue;  // answered by the worker and by the reaper
            found->asked = false;
            ++found->step;
            const bool failed = answers[at].status != static_cast<std::uint32_t>(Status::ok);
            if (failed || found->step == found->length) begin(*found);
        }
        if (count == 0 && any) shared.wait_for_answers(index);
    }
}

[[noreturn]] void run_worker(SharedQueue& shared, std::uint32_t index, std::uint32_t epoch,
                             std::mt19937_64 random) {
    const BatchRule rule{.max_rows = 2, .max_requests = 2, .ready_slots = index % 2};
    std::map<std::uint64_t, std::uint64_t> last;  // serial of a sequence -> token of its last step
    shared.queue.activate(index, worker_process(index), epoch);
    std::vector<std::uint32_t> done;
    std::array<PoppedRequest, 2> places;
    for (;;) {
        for (const auto& request : shared.take(index, rule, done, places, random)) {
            done.push_back(request.slot);
            if (request.verdict != SequenceVerdict::none) {
                shared.answer(request, Status::cancelled);
                continue;
            }
            const auto token = request.request.token;
            const auto found = last.find(request.sequence);
            const bool is_right =
                found == last.end() ? token % kSteps == 0 : token == found->second + 1;
            if (!is_right || request.sequence_slot >= kRule.slots) _exit(kWrong);
            last[request.sequence] = token;
            shared.answer(request, Status::ok);
        }
    }
}

}  // namespace

TEST_CASE(killing_anybody_at_any_time_mixes_no_sequences_and_loses_no_slot) {
    SharedQueue shared(kWorkers, kRule);
    KillingSupervisor supervisor(shared, kWorkers, run_frontend, run_worker, check::seed());
    if (!supervisor.kill_again_and_again(check::rounds(250))) return;
    supervisor.end_frontends();
    usleep(2 * kIdleNs / 1'000);
    CHECK_EQUAL(shared.queue.live_sequences(), std::uint32_t{0});
    supervisor.end_workers();
}

int main() { return mpserve::check::run_all(); }
