// A queue with frontends and instances as processes that are killed at random instants, also inside
// its lock. The parent plays the supervisor: it kills, reaps as the supervisor does, and starts
// successors.
#pragma once

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "check.hpp"
#include "mpserve/board.hpp"
#include "mpserve/completion_ring.hpp"
#include "mpserve/message.hpp"
#include "mpserve/model_queue.hpp"
#include "mpserve/wake.hpp"
#include "shared_memory.hpp"

namespace mpserve::check {

enum ExitCode : int { kFinished = 0, kHang = 2, kWrong = 3, kLeak = 4 };

inline constexpr std::uint32_t kFrontends = 2;
inline constexpr std::uint32_t kSlots = 32;
inline constexpr int kAnswerDeadlineMs = 20'000;  // far above any scheduling delay: past it, a hang

constexpr std::uint32_t frontend_process(std::uint32_t index) { return 1 + index; }
constexpr std::uint32_t worker_process(std::uint32_t index) { return 1 + kFrontends + index; }

// What all processes share; made before any is forked.
class SharedQueue {
public:
    SharedQueue(std::uint32_t workers, SequenceRule rule)
        : table_(Board::required_bytes(1 + kFrontends + workers)),
          queue_memory_(ModelQueue::required_bytes(kSlots, rule)),
          control_(64) {
        CHECK(board.format(table_.segment(), 1 + kFrontends + workers));
        CHECK(queue.format(queue_memory_.segment(), kSlots, 1, rule));
        for (std::uint32_t index = 0; index < kFrontends; ++index) {
            ring_memory_.push_back(
                std::make_unique<SharedMemory>(CompletionRing::required_bytes(128)));
            CHECK(rings.emplace_back().format(ring_memory_.back()->segment(), 128));
            wake_fds.push_back(eventfd(0, EFD_NONBLOCK));
        }
    }
    ~SharedQueue() {
        for (const auto fd : wake_fds) close(fd);
    }
    SharedQueue(const SharedQueue&) = delete;
    SharedQueue& operator=(const SharedQueue&) = delete;

    bool must_finish() { return finish_word().load() != 0; }
    void ask_to_finish() {
        finish_word().store(1);
        wake_all();
    }
    void wake_all() {
        for (const auto fd : wake_fds) eventfd_signal(fd);
    }
    void answer(const PoppedRequest& request, Status status) {
        Completion completion{};
        completion.status = static_cast<std::uint16_t>(status);
        tell(request, completion);
    }
    void tell(const PoppedRequest& request, Completion completion) {
        completion.token = request.request.token;
        completion.frontend_epoch = request.frontend_epoch;
        bool wake = false;
        while (board.is_current(request.frontend, request.frontend_epoch) &&
               rings[request.ring].push({&completion, 1}, wake) == 0) {
            eventfd_signal(wake_fds[request.ring]);
            usleep(100);
        }
        if (wake) eventfd_signal(wake_fds[request.ring]);
    }
    // For a frontend that has nothing to do but wait for answers.
    void wait_for_answers(std::uint32_t frontend) {
        if (!rings[frontend].arm()) return;
        pollfd waiting{.fd = wake_fds[frontend], .events = POLLIN, .revents = 0};
        if (poll(&waiting, 1, kAnswerDeadlineMs) == 0) _exit(kHang);
        eventfd_drain(wake_fds[frontend]);
    }
    // For one that looks after requests (wake_rule.hpp).
    void wait_a_moment(std::uint32_t frontend) {
        if (!rings[frontend].arm()) return;
        pollfd waiting{.fd = wake_fds[frontend], .events = POLLIN, .revents = 0};
        if (poll(&waiting, 1, 1) != 0) eventfd_drain(wake_fds[frontend]);
    }
    // For an instance: gives `done` back and waits until it has taken something; ends the process
    // when the queue was retired. Then it is busy for a moment.
    std::span<PoppedRequest> take(std::uint32_t worker, const BatchRule& rule,
                                  std::vector<std::uint32_t>& done, std::span<PoppedRequest> taken,
                                  std::mt19937_64& random) {
        for (;;) {
            std::size_t count = 0;
            std::uint64_t starved = 0;
            std::uint32_t seen = 0;
            const auto outcome = queue.pop(worker, rule, done, taken, count, starved, seen);
            done.clear();
            for (std::uint32_t ring = 0; ring < kFrontends; ++ring) {
                if ((starved >> ring) & 1) eventfd_signal(wake_fds[ring]);
            }
            if (outcome == PopOutcome::retired) _exit(kFinished);
            if (outcome != PopOutcome::empty) {
                const auto busy_until = now_ns() + random() % 20'000;
                while (now_ns() < busy_until) {
                }
                return taken.first(count);
            }
            const auto due = queue.look_again_ns(worker);
            const auto now = now_ns();
            if (due == 0) {
                futex_wait(queue.wake_word(worker), seen, 1'000'000'000'000ULL);
            } else if (due > now) {
                futex_wait(queue.wake_word(worker), seen, due - now);
            }
        }
    }

private:
    std::atomic<std::uint32_t>& finish_word() { return control_.at<std::atomic<std::uint32_t>>(0); }

    SharedMemory table_;
    SharedMemory queue_memory_;
    SharedMemory control_;  // first word: 1 asks everybody to finish
    std::vector<std::unique_ptr<SharedMemory>> ring_memory_;

public:
    Board board;
    ModelQueue queue;
    std::vector<CompletionRing> rings;
    std::vector<int> wake_fds;
};

// Is a frontend or an instance, in a process of its own; never returns.
using Run = std::function<void(SharedQueue&, std::uint32_t index, std::uint32_t epoch,
                               std::mt19937_64 random)>;

class KillingSupervisor {
public:
    KillingSupervisor(SharedQueue& shared, std::uint32_t workers, Run frontend, Run worker,
                      std::uint64_t seed)
        : shared_(shared),
          random_(seed),
          run_frontend_(std::move(frontend)),
          run_worker_(std::move(worker)),
          workers_(workers) {
        for (std::uint32_t index = 0; index < workers; ++index) start_worker(index);
        for (std::uint32_t index = 0; index < kFrontends; ++index) start_frontend(index);
    }

    // Kills somebody so many times; false when somebody has ended by himself, and so failed.
    bool kill_again_and_again(std::uint64_t rounds) {
        for (std::uint64_t round = 0; round < rounds; ++round) {
            usleep(static_cast<useconds_t>(random_() % 6'000));
            if (!all_live()) {
                for (auto& child : frontends_) kill(child.pid, SIGKILL);
                for (auto& child : workers_) kill(child.pid, SIGKILL);
                return false;
            }
            kill_one();
        }
        return true;
    }

    void end_frontends() {
        shared_.ask_to_finish();
        for (auto& child : frontends_) CHECK_EQUAL(wait_for(child), int{kFinished});
    }

    void end_workers() {
        shared_.queue.retire();
        for (auto& child : workers_) CHECK_EQUAL(wait_for(child), int{kFinished});
        CHECK_EQUAL(shared_.queue.depth(), std::uint32_t{0});
        CHECK(shared_.queue.is_drained());
    }

private:
    struct Child {
        pid_t pid = -1;
        std::uint32_t epoch = 0;
    };

    void kill_one() {
        const auto chosen = static_cast<std::uint32_t>(random_() % (kFrontends + workers_.size()));
        if (chosen < kFrontends) {
            end(frontends_[chosen]);
            shared_.board.end(frontend_process(chosen));
            shared_.queue.drop_frontend(frontend_process(chosen), frontends_[chosen].epoch);
            return start_frontend(chosen);
        }
        end(workers_[chosen - kFrontends]);
        reap_worker(chosen - kFrontends);
        start_worker(chosen - kFrontends);
    }

    // Nobody may have ended by itself: that would be a hang or a wrong answer.
    static bool all_live() {
        int status = 0;
        const auto ended = waitpid(-1, &status, WNOHANG);
        if (ended <= 0) return true;
        CHECK_EQUAL(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), 0);
        return false;
    }

    void start_worker(std::uint32_t index) {
        start(workers_[index], worker_process(index), run_worker_, index);
    }

    void start_frontend(std::uint32_t index) {
        start(frontends_[index], frontend_process(index), run_frontend_, index);
    }

    void start(Child& child, std::uint32_t process, const Run& run, std::uint32_t index) {
        child.epoch = shared_.board.begin(process);
        const std::mt19937_64 random(random_());
        child.pid = fork();
        if (child.pid == 0) run(shared_, index, child.epoch, random);
    }

    void reap_worker(std::uint32_t index) {
        shared_.board.end(worker_process(index));
        const auto held = shared_.queue.held_by(index, workers_[index].epoch);
        for (const auto& request : held) shared_.answer(request, Status::unavailable);
        for (const auto& request : shared_.queue.take_sequences_of(index)) {
            shared_.answer(request, Status::unavailable);
        }
        std::uint64_t starved = 0;
        shared_.queue.release_reaped(index, workers_[index].epoch, held, starved);
        shared_.wake_all();
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

    SharedQueue& shared_;
    std::mt19937_64 random_;
    Run run_frontend_;
    Run run_worker_;
    std::array<Child, kFrontends> frontends_;
    std::vector<Child> workers_;
};

}  // namespace mpserve::check
