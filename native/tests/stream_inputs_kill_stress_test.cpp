// Streams of requests between frontends and instances that are killed at random instants.
//
// Proven here: a stream of a living frontend ends, with its worker at the latest; an instance whose
// client is dead ends its stream; when all is quiet no slot and no block is lost, neither of first
// requests nor of further ones.

#include <algorithm>
#include <array>
#include <cstring>
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
constexpr std::uint32_t kOpen = 12;  // streams of one frontend
constexpr BatchRule kRule{.max_rows = 4, .max_requests = 4};

class Frontend {
public:
    Frontend(SharedQueue& shared, std::uint32_t index, std::uint32_t epoch, std::mt19937_64 random)
        : shared_(shared),
          index_(index),
          epoch_(epoch),
          random_(random),
          memory_(kArenaBytes),
          source_(memory_.segment()),
          arena_(source_, kArenaBytes, kArenaBytes) {}

    [[noreturn]] void run() {
        std::array<Completion, 16> answers;
        for (;;) {
            finishes_ = shared_.must_finish();
            if (!finishes_) open_some();
            if (!pending_.empty()) {
                const auto outcome =
                    shared_.queue.push(pending_, frontend_process(index_), epoch_, index_);
                pending_.erase(pending_.begin(), pending_.begin() + outcome.handled);
            }
            const auto count = shared_.rings[index_].pop(answers);
            for (std::size_t at = 0; at < count; ++at) {
                if (answers[at].frontend_epoch == epoch_) take(answers[at]);
            }
            arena_.reclaim_dead(shared_.board);
            if (open_.empty() && finishes_ && arena_.blocks() == 0) _exit(kFinished);
            if (count == 0) shared_.wait_for_answers(index_);
        }
    }

private:
    struct Stream {
        std::uint64_t token;
        BlockRef block;
    };

    void open_some() {
        while (open_.size() < kOpen && random_() % 4 != 0) {
            const auto block = arena_.allocate(64 + random_() % 512);
            if (!block) return;
            QueueRequest request{};
            request.token = next_token_++;
            request.block = block.ref;
            request.rows = 1;
            open_.push_back({request.token, block.ref});
            pending_.push_back({.request = request});
        }
    }

    void take(const Completion& completion) {
        if ((completion.flags & kInputsReturned) != 0) {
            arena_.take_back(completion.block, completion.worker_index, completion.worker_epoch);
            return;
        }
        const auto found = std::ranges::find(open_, completion.token, &Stream::token);
        if (found == open_.end()) {
            // The worker died after its answer: the reaper gave another.
            if (completion.token >= next_token_) _exit(kWrong);
            return;
        }
        if ((completion.flags & kWantsInput) != 0) return feed(completion);
        arena_.release(found->block);
        open_.erase(found);
    }

    void feed(const Completion& wish) {
        const auto block = finishes_ || random_() % 4 == 0 ? Block{} : arena_.allocate(64);
        const auto slot = wish.input_ns;
        if (!block) {
            shared_.queue.give_input(slot, wish.token, frontend_process(index_), epoch_,
                                     kInputsEnd);
            return;
        }
        if (!shared_.queue.give_input(slot, wish.token, frontend_process(index_), epoch_,
                                      block.ref)) {
            arena_.release(block.ref);
            return;
        }
        arena_.lend(block.ref, wish.worker_index, wish.worker_epoch);
        if (!shared_.board.is_current(wish.worker_index, wish.worker_epoch)) {
            arena_.take_back(block.ref, wish.worker_index, wish.worker_epoch);
        }
    }

    SharedQueue& shared_;
    std::uint32_t index_;
    std::uint32_t epoch_;
    std::mt19937_64 random_;
    const SharedMemory memory_;
    FixedSource source_;
    Arena arena_;
    std::vector<Stream> open_;
    std::vector<QueuePush> pending_;
    std::uint64_t next_token_ = 1;
    bool finishes_ = false;
};

class Worker {
public:
    Worker(SharedQueue& shared, std::uint32_t index, std::uint32_t epoch, std::mt19937_64 random)
        : shared_(shared), index_(index), epoch_(epoch), random_(random) {}

    [[noreturn]] void run() {
        shared_.queue.activate(index_, worker_process(index_), epoch_);
        auto& word = shared_.queue.wake_word(index_);
        std::array<PoppedRequest, 4> places;
        std::vector<std::uint32_t> done;
        for (;;) {
            const auto seen = word.load(std::memory_order_acquire);
            std::size_t count = 0;
            std::uint64_t starved = 0;
            std::uint32_t announced = 0;
            const auto outcome =
                shared_.queue.pop(index_, kRule, done, places, count, starved, announced);
            done.clear();
            for (std::uint32_t ring = 0; ring < kFrontends; ++ring) {
                if ((starved >> ring) & 1) eventfd_signal(shared_.wake_fds[ring]);
            }
            if (outcome == PopOutcome::taken) {
                for (std::size_t at = 0; at < count; ++at) {
                    open_.push_back({.request = places[at], .left = random_() % 6});
                }
            }
            if (outcome == PopOutcome::retired && open_.empty()) _exit(kFinished);
            bool moved = outcome == PopOutcome::taken;
            for (auto& stream : open_) moved |= step(stream);
            for (const auto& stream : open_) {
                if (stream.ended) done.push_back(stream.request.slot);
            }
            std::erase_if(open_, [](const Stream& stream) { return stream.ended; });
            if (!moved) futex_wait(word, seen, 1'000'000'000'000ULL);
        }
    }

private:
    struct Stream {
        PoppedRequest request;
        std::uint64_t left;  // how many it wants at least; then it may end
        bool asked = false;
        bool ended = false;
    };

    // Whether there was something to do.
    bool step(Stream& stream) {
        const auto& request = stream.request;
        if (!shared_.board.is_current(request.frontend, request.frontend_epoch)) return end(stream);
        if (!stream.asked) {
            if (stream.left == 0) return end(stream);
            stream.asked = true;
            tell(request, kWantsInput | kMoreFollow, 0, request.slot);
            return true;
        }
        if (random_() % 8 == 0) return end(stream);  // with a wish that may be granted already
        const auto input = shared_.queue.take_input(request.slot);
        if (input == kNoInput) return false;
        if (input == kInputsEnd) return end(stream);
        tell(request, kInputsReturned, input, 0);
        stream.asked = false;
        --stream.left;
        return true;
    }

    bool end(Stream& stream) {
        const auto left = shared_.queue.close_inputs(stream.request.slot);
        if (left != kNoInput && left != kInputsEnd) tell(stream.request, kInputsReturned, left, 0);
        tell(stream.request, kEmptyFinal, 0, 0);
        return stream.ended = true;
    }

    void tell(const PoppedRequest& request, std::uint16_t flags, BlockRef block,
              std::uint32_t slot) {
        Completion completion{};
        completion.worker_index = worker_process(index_);
        completion.worker_epoch = epoch_;
        completion.flags = flags;
        completion.block = block;
        completion.input_ns = slot;
        shared_.tell(request, completion);
    }

    SharedQueue& shared_;
    std::uint32_t index_;
    std::uint32_t epoch_;
    std::mt19937_64 random_;
    std::vector<Stream> open_;
};

[[noreturn]] void run_frontend(SharedQueue& shared, std::uint32_t index, std::uint32_t epoch,
                               std::mt19937_64 random) {
    Frontend(shared, index, epoch, random).run();
}

[[noreturn]] void run_worker(SharedQueue& shared, std::uint32_t index, std::uint32_t epoch,
                             std::mt19937_64 random) {
    Worker(shared, index, epoch, random).run();
}

}  // namespace

TEST_CASE(killing_anybody_at_any_time_ends_all_streams_and_loses_no_slot_and_no_block) {
    SharedQueue shared(kWorkers, SequenceRule{});
    KillingSupervisor supervisor(shared, kWorkers, run_frontend, run_worker, check::seed());
    if (!supervisor.kill_again_and_again(check::rounds(300))) return;
    supervisor.end_frontends();
    supervisor.end_workers();
}

int main() { return mpserve::check::run_all(); }
