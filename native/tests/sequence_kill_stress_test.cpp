// Sequences of frontends and instances that are killed at random instants, also inside the lock.
//
// Proven here: an instance sees each sequence from its first request on, in order, without a hole
// and never mixed with another; nobody who lives waits for ever; when all is quiet no slot is
// taken.
//
// The parent plays the supervisor. A token says who asks, which sequence and which step of it.

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "check.hpp"
#include "mpserve/board.hpp"
#include "mpserve/completion_ring.hpp"
#include "mpserve/message.hpp"
#include "mpserve/model_queue.hpp"
#include "mpserve/wake.hpp"
#include "shared_memory.hpp"

using namespace mpserve;
using mpserve::check::SharedMemory;

namespace {

constexpr std::uint32_t kFrontends = 2;
constexpr std::uint32_t kWorkers = 2;
constexpr std::uint32_t kProcesses = 1 + kFrontends + kWorkers;
constexpr std::uint32_t kSlots = 32;
constexpr std::uint32_t kSequences = 6;  // of each frontend; more than there are slots for
constexpr std::uint64_t kIdleNs = 20'000'000;
constexpr SequenceRule kRule{.slots = 2, .idle_ns = kIdleNs};
constexpr int kAnswerDeadlineMs = 20'000;  // far above any scheduling delay
constexpr std::uint64_t kSteps = 1 << 16;

enum ExitCode : int { kFinished = 0, kHang = 2, kWrong = 3 };

struct Shared {
    Shared()
        : table(Board::required_bytes(kProcesses)),
          queue_memory(ModelQueue::required_bytes(kSlots, kRule)),
          control(64) {
        CHECK(board.format(table.segment(), kProcesses));
        CHECK(queue.format(queue_memory.segment(), kSlots, 1, kRule));
        for (std::uint32_t index = 0; index < kFrontends; ++index) {
            ring_memory.push_back(
                std::make_unique<SharedMemory>(CompletionRing::required_bytes(128)));
            CHECK(rings.emplace_back().format(ring_memory.back()->segment(), 128));
            wake_fds.push_back(eventfd(0, EFD_NONBLOCK));
        }
    }
    bool must_finish() { return control.at<std::atomic<std::uint32_t>>(0).load() != 0; }
    void answer(const PoppedRequest& request, Status status) {
        Completion completion{};
        completion.token = request.request.token;
        completion.frontend_epoch = request.frontend_epoch;
        completion.status = static_cast<std::uint32_t>(status);
        bool wake = false;
        while (board.is_current(request.frontend, request.frontend_epoch) &&
               rings[request.ring].push({&completion, 1}, wake) == 0) {
            eventfd_signal(wake_fds[request.ring]);
            usleep(100);
        }
        if (wake) eventfd_signal(wake_fds[request.ring]);
    }

    SharedMemory table;
    SharedMemory queue_memory;
    SharedMemory control;  // first word: 1 asks everybody to finish
    std::vector<std::unique_ptr<SharedMemory>> ring_memory;
    Board board;
    ModelQueue queue;
    std::vector<CompletionRing> rings;
    std::vector<int> wake_fds;
};

constexpr std::uint32_t frontend_process(std::uint32_t index) { return 1 + index; }
constexpr std::uint32_t worker_process(std::uint32_t index) { return 1 + kFrontends + index; }

// One client: asks for one step at a time, and starts again when its sequence is gone.
struct Client {
    std::uint64_t id = 0;
    std::uint64_t step = 0;
    std::uint64_t length = 0;
    bool asked = false;

    bool is_last() const { return step + 1 == length; }
};

[[noreturn]] void run_frontend(Shared& shared, std::uint32_t index, std::uint32_t epoch,
                               std::uint64_t seed) {
    std::mt19937_64 random(seed);
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
        if (count == 0 && any && shared.rings[index].arm()) {
            pollfd waiting{.fd = shared.wake_fds[index], .events = POLLIN, .revents = 0};
            if (poll(&waiting, 1, kAnswerDeadlineMs) == 0) _exit(kHang);
            eventfd_drain(shared.wake_fds[index]);
        }
    }
}

[[noreturn]] void run_worker(Shared& shared, std::uint32_t index, std::uint32_t epoch,
                             std::uint64_t seed) {
    std::mt19937_64 random(seed);
    const BatchRule rule{.max_rows = 2, .max_requests = 2, .ready_slots = index % 2};
    std::map<std::uint64_t, std::uint64_t> last;  // serial of a sequence -> token of its last step
    shared.queue.activate(index, worker_process(index), epoch);
    std::vector<std::uint32_t> done;
    std::array<PoppedRequest, 2> taken;
    for (;;) {
        std::size_t count = 0;
        std::uint64_t starved = 0;
        std::uint32_t seen = 0;
        const auto outcome = shared.queue.pop(index, rule, done, taken, count, starved, seen);
        done.clear();
        for (std::uint32_t ring = 0; ring < kFrontends; ++ring) {
            if ((starved >> ring) & 1) eventfd_signal(shared.wake_fds[ring]);
        }
        if (outcome == PopOutcome::retired) _exit(kFinished);
        if (outcome == PopOutcome::empty) {
            const auto due = shared.queue.look_again_ns(index);
            const auto now = now_ns();
            if (due == 0) {
                futex_wait(shared.queue.wake_word(index), seen, 1'000'000'000'000ULL);
            } else if (due > now) {
                futex_wait(shared.queue.wake_word(index), seen, due - now);
            }
            continue;
        }
        const auto busy_until = now_ns() + random() % 20'000;
        while (now_ns() < busy_until) {
        }
        for (std::size_t at = 0; at < count; ++at) {
            const auto& request = taken[at];
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

struct Child {
    pid_t pid = -1;
    std::uint32_t epoch = 0;
};

class Supervisor {
public:
    explicit Supervisor(std::uint64_t seed) : random_(seed) {
        for (std::uint32_t index = 0; index < kWorkers; ++index) start_worker(index);
        for (std::uint32_t index = 0; index < kFrontends; ++index) start_frontend(index);
    }

    void kill_one() {
        const auto chosen = random_() % (kFrontends + kWorkers);
        if (chosen < kFrontends) {
            const auto index = static_cast<std::uint32_t>(chosen);
            end(frontends_[index]);
            shared_.board.end(frontend_process(index));
            shared_.queue.drop_frontend(frontend_process(index), frontends_[index].epoch);
            start_frontend(index);
            return;
        }
        const auto index = static_cast<std::uint32_t>(chosen - kFrontends);
        end(workers_[index]);
        reap_worker(index);
        start_worker(index);
    }

    void finish() {
        shared_.control.at<std::atomic<std::uint32_t>>(0).store(1);
        for (const auto fd : shared_.wake_fds) eventfd_signal(fd);
        for (auto& child : frontends_) CHECK_EQUAL(wait_for(child), int{kFinished});
        usleep(2 * kIdleNs / 1'000);
        CHECK_EQUAL(shared_.queue.live_sequences(), std::uint32_t{0});
        shared_.queue.retire();
        for (auto& child : workers_) CHECK_EQUAL(wait_for(child), int{kFinished});
        CHECK(shared_.queue.is_drained());
    }

    // Nobody may have ended by itself: that would be a hang or a wrong order.
    bool all_live() {
        int status = 0;
        const auto ended = waitpid(-1, &status, WNOHANG);
        if (ended <= 0) return true;
        CHECK_EQUAL(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), 0);
        return false;
    }

    void end_all() {
        for (auto& child : frontends_) kill(child.pid, SIGKILL);
        for (auto& child : workers_) kill(child.pid, SIGKILL);
    }

private:
    void start_worker(std::uint32_t index) {
        workers_[index].epoch = shared_.board.begin(worker_process(index));
        const auto seed = random_();
        workers_[index].pid = fork();
        if (workers_[index].pid == 0) run_worker(shared_, index, workers_[index].epoch, seed);
    }

    void start_frontend(std::uint32_t index) {
        frontends_[index].epoch = shared_.board.begin(frontend_process(index));
        const auto seed = random_();
        frontends_[index].pid = fork();
        if (frontends_[index].pid == 0) run_frontend(shared_, index, frontends_[index].epoch, seed);
    }

    void reap_worker(std::uint32_t index) {
        shared_.board.end(worker_process(index));
        const auto held = shared_.queue.held_by(index, workers_[index].epoch);
        for (const auto& request : held) shared_.answer(request, Status::unavailable);
        for (const auto& request : shared_.queue.take_sequences_of(index))
            shared_.answer(request, Status::unavailable);
        std::uint64_t starved = 0;
        shared_.queue.release_reaped(index, workers_[index].epoch, held, starved);
        for (const auto fd : shared_.wake_fds) eventfd_signal(fd);
    }

    static void end(const Child& child) {
        kill(child.pid, SIGKILL);
        int status = 0;
        waitpid(child.pid, &status, 0);
        CHECK(WIFSIGNALED(status));
    }

    static int wait_for(const Child& child) {
        int status = 0;
        waitpid(child.pid, &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }

    std::mt19937_64 random_;
    Shared shared_;
    std::array<Child, kFrontends> frontends_;
    std::array<Child, kWorkers> workers_;
};

}  // namespace

TEST_CASE(killing_anybody_at_any_time_mixes_no_sequences_and_loses_no_slot) {
    const auto rounds = mpserve::check::rounds(250);
    std::mt19937_64 random(mpserve::check::seed());
    Supervisor supervisor(random());
    for (std::uint64_t round = 0; round < rounds; ++round) {
        usleep(static_cast<useconds_t>(random() % 6'000));
        if (!supervisor.all_live()) {
            supervisor.end_all();
            return;
        }
        supervisor.kill_one();
    }
    supervisor.finish();
}

int main() { return mpserve::check::run_all(); }
