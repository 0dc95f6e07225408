// Frontends and workers as processes over one queue and real arenas, killed at random instants.
//
// Proven here: nobody who lives waits for ever (no hang, no lost wake-up), each request of a living
// frontend is answered once, and when all is quiet no slot and no block is lost.
//
// The parent plays the supervisor: it kills, reaps as the supervisor does, and starts successors.

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <random>
#include <vector>

#include "check.hpp"
#include "mpserve/arena.hpp"
#include "mpserve/completion_ring.hpp"
#include "mpserve/model_queue.hpp"
#include "mpserve/wake.hpp"
#include "shared_memory.hpp"

using namespace mpserve;
using mpserve::check::SharedMemory;

namespace {

constexpr std::uint32_t kFrontends = 2;
constexpr std::uint32_t kWorkers = 3;
constexpr std::uint32_t kProcesses = 1 + kFrontends + kWorkers;
constexpr std::uint32_t kSlots = 32;
constexpr std::uint64_t kArenaBytes = 1 << 20;
constexpr std::uint32_t kOutstanding = 24;
constexpr std::array<std::uint32_t, 1> kPreferredRows{3};
// With a delay, so that instances die while they wait for company too.
constexpr BatchRule kRule{
    .max_rows = 4, .max_requests = 4, .max_delay_ns = 300'000, .preferred_rows = kPreferredRows};
constexpr int kAnswerDeadlineMs =
    20'000;  // far above any scheduling delay: a wait past it is a hang

enum ExitCode : int { kFinished = 0, kHang = 2, kWrongAnswer = 3, kLeak = 4 };

// One segment per process, made before any fork; a successor formats it anew.
class FixedSource final : public SegmentSource {
public:
    explicit FixedSource(Segment segment) : segment_(segment) {}
    Segment create(std::uint32_t number, std::uint64_t bytes) override {
        if (number != 0 || bytes > segment_.bytes()) return {};
        std::memset(segment_.base(), 0, segment_.bytes());
        return segment_;
    }
    void remove(std::uint32_t) override {}

private:
    Segment segment_;
};

struct Shared {
    Shared()
        : table(Board::required_bytes(kProcesses)),
          queue_memory(ModelQueue::required_bytes(kSlots)),
          control(64) {
        CHECK(board.format(table.segment(), kProcesses));
        CHECK(queue.format(queue_memory.segment(), kSlots, 1));
        for (std::uint32_t index = 0; index < kFrontends; ++index) {
            ring_memory.push_back(
                std::make_unique<SharedMemory>(CompletionRing::required_bytes(128)));
            CHECK(rings.emplace_back().format(ring_memory.back()->segment(), 128));
            wake_fds.push_back(eventfd(0, EFD_NONBLOCK));
        }
    }
    // A new arena for each epoch: the old one may still be looked at by who has not noticed the
    // death.
    Segment arena_of(std::uint32_t process) { return arenas[process]->segment(); }

    SharedMemory table;
    SharedMemory queue_memory;
    SharedMemory control;  // first word: 1 asks everybody to finish
    std::vector<std::unique_ptr<SharedMemory>> ring_memory;
    std::array<std::unique_ptr<SharedMemory>, kProcesses> arenas;
    Board board;
    ModelQueue queue;
    std::vector<CompletionRing> rings;
    std::vector<int> wake_fds;

    bool must_finish() { return control.at<std::atomic<std::uint32_t>>(0).load() != 0; }
};

constexpr std::uint32_t frontend_process(std::uint32_t index) { return 1 + index; }
constexpr std::uint32_t worker_process(std::uint32_t index) { return 1 + kFrontends + index; }

// Arenas move with each epoch, and a process that was forked earlier does not map the new ones. So
// the stress checks the accounting of blocks by reference only: each side lends, and gives back by
// message.
[[noreturn]] void run_frontend(Shared& shared, std::uint32_t index, std::uint32_t epoch,
                               std::uint64_t seed) {
    std::mt19937_64 random(seed);
    FixedSource source(shared.arena_of(frontend_process(index)));
    Arena arena(source, kArenaBytes, kArenaBytes);
    struct Question {
        std::uint64_t token;
        BlockRef block;
    };
    std::vector<Question> asked;
    std::vector<QueuePush> pending;
    std::array<Completion, 16> answers;
    std::uint64_t next_token = 1;
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
            const auto outcome = shared.queue.push(pending, frontend_process(index), epoch, index);
            pending.erase(pending.begin(), pending.begin() + outcome.handled);
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
                if (answer.token >= next_token) _exit(kWrongAnswer);
                continue;
            }
            arena.release(found->block);
            asked.erase(found);
        }
        if (count == 0 && !asked.empty() && shared.rings[index].arm()) {
            pollfd waiting{.fd = shared.wake_fds[index], .events = POLLIN, .revents = 0};
            if (poll(&waiting, 1, kAnswerDeadlineMs) == 0) _exit(kHang);
            eventfd_drain(shared.wake_fds[index]);
        }
    }
    _exit(arena.blocks() == 0 ? kFinished : kLeak);
}

[[noreturn]] void run_worker(Shared& shared, std::uint32_t index, std::uint32_t epoch,
                             std::uint64_t seed) {
    std::mt19937_64 random(seed);
    shared.queue.activate(index, worker_process(index), epoch);
    std::vector<std::uint32_t> done;
    std::array<PoppedRequest, 4> taken;
    for (;;) {
        std::size_t count = 0;
        std::uint64_t starved = 0;
        std::uint32_t seen = 0;
        const auto outcome = shared.queue.pop(index, kRule, done, taken, count, starved, seen);
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
            Completion completion{};
            completion.token = taken[at].request.token;
            completion.frontend_epoch = taken[at].frontend_epoch;
            completion.worker_index = worker_process(index);
            completion.worker_epoch = epoch;
            bool wake = false;
            while (shared.board.is_current(taken[at].frontend, taken[at].frontend_epoch) &&
                   shared.rings[taken[at].ring].push({&completion, 1}, wake) == 0) {
                eventfd_signal(shared.wake_fds[taken[at].ring]);
                usleep(100);
            }
            if (wake) eventfd_signal(shared.wake_fds[taken[at].ring]);
            done.push_back(taken[at].slot);
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
        shared_.queue.retire();
        for (auto& child : workers_) CHECK_EQUAL(wait_for(child), int{kFinished});
        CHECK_EQUAL(shared_.queue.depth(), std::uint32_t{0});
        CHECK(shared_.queue.is_drained());
    }

    // Nobody may have ended by itself: that would be a hang or a wrong answer.
    bool all_live() {
        int status = 0;
        const auto ended = waitpid(-1, &status, WNOHANG);
        if (ended <= 0) return true;
        CHECK_EQUAL(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), 0);
        return false;
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
        shared_.arenas[frontend_process(index)] = std::make_unique<SharedMemory>(kArenaBytes);
        const auto seed = random_();
        frontends_[index].pid = fork();
        if (frontends_[index].pid == 0) run_frontend(shared_, index, frontends_[index].epoch, seed);
    }

    void reap_worker(std::uint32_t index) {
        shared_.board.end(worker_process(index));
        const auto held = shared_.queue.held_by(index, workers_[index].epoch);
        for (const auto& request : held) {
            Completion completion{};
            completion.token = request.request.token;
            completion.frontend_epoch = request.frontend_epoch;
            completion.status = static_cast<std::uint32_t>(Status::unavailable);
            bool wake = false;
            while (shared_.rings[request.ring].push({&completion, 1}, wake) == 0) {
                eventfd_signal(shared_.wake_fds[request.ring]);
                usleep(100);
            }
        }
        for (const auto fd : shared_.wake_fds) eventfd_signal(fd);
        std::uint64_t starved = 0;
        shared_.queue.release_reaped(index, workers_[index].epoch, held, starved);
        for (std::uint32_t ring = 0; ring < kFrontends; ++ring) {
            if ((starved >> ring) & 1) eventfd_signal(shared_.wake_fds[ring]);
        }
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

TEST_CASE(killing_anybody_at_any_time_leaves_no_hang_no_lost_answer_and_no_lost_slot) {
    const auto rounds = mpserve::check::rounds(300);
    std::mt19937_64 random(mpserve::check::seed());
    Supervisor supervisor(random());
    for (std::uint64_t round = 0; round < rounds; ++round) {
        usleep(static_cast<useconds_t>(random() % 6'000));
        if (!supervisor.all_live()) return;
        supervisor.kill_one();
    }
    supervisor.finish();
}

int main() { return mpserve::check::run_all(); }
