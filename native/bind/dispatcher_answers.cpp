// A dispatcher's answers: out of the completion ring, counted, and handed to whoever waits.
#include <array>
#include <string>
#include <utility>

#include "dispatcher.hpp"
#include "loss_text.hpp"
#include "mpserve/wake.hpp"

namespace mpserve::bind {

namespace {

constexpr std::size_t kCompletionsAtOnce = 256;

class Delivering {
public:
    explicit Delivering(bool& flag) noexcept : flag_(flag) { flag_ = true; }
    ~Delivering() { flag_ = false; }
    Delivering(const Delivering&) = delete;
    Delivering& operator=(const Delivering&) = delete;

private:
    bool& flag_;
};

}  // namespace

std::string_view default_error(Status status) noexcept {
    switch (status) {
        case Status::unavailable:
            return "the worker process of the model ended before it answered; the request may be "
                   "sent "
                   "again";
        case Status::not_ready: return "the model was unloaded before the request was executed";
        case Status::exhausted:
            return "Failed to increase the shared memory pool size for key 'arena': none is left "
                   "for "
                   "the answer; enlarge /dev/shm (a container's --shm-size) or raise "
                   "--arena-max-bytes";
        default: return "the request could not be answered";
    }
}

void Dispatcher::count(const InFlight& entry, Answer& answer) noexcept {
    // One answer that is an error makes the request a failure, as Triton counts it.
    const auto status = entry.failed == Status::ok ? answer.status : entry.failed;
    auto& counters = *entry.route->port->counters;
    const auto now = turn_ns();
    const auto taken_ns = now > entry.submitted_ns ? now - entry.submitted_ns : 0;
    answer.at_ns = now;
    answer.taken_ns = taken_ns;
    if (status == Status::ok) {
        mpserve::count(counters.successes, 1);
        mpserve::count(counters.success_ns, taken_ns);
        return;
    }
    const auto reason = answer.refused ? FailureReason::rejected : failure_reason(status);
    mpserve::count(counters.failures[static_cast<std::size_t>(reason)], 1);
    mpserve::count(counters.failure_ns, taken_ns);
}

// How long it took to come here, where the operator wants to know.
void Dispatcher::observe(InFlight& entry, const Answer& answer) noexcept {
    auto& table = *entry.route->port->latencies;
    const auto since = [&entry](std::uint64_t ns) {
        return ns > entry.submitted_ns ? ns - entry.submitted_ns : 0;
    };
    const bool responds = answer.response != nullptr || answer.status != Status::ok;
    if (table.first_bounds != 0 && responds && !entry.responded) {
        entry.responded = true;
        table.observe_first(since(turn_ns()));
    }
    const auto status = entry.failed == Status::ok ? answer.status : entry.failed;
    if (table.summaries == 0 || !answer.final || status != Status::ok) return;
    table.observe(LatencyKind::request, answer.taken_ns);
    if (answer.completion == nullptr) return;
    const auto& completion = *answer.completion;
    table.observe(LatencyKind::queue, since(completion.popped_ns));
    table.observe(LatencyKind::input, completion.input_ns);
    table.observe(LatencyKind::infer, completion.execute_ns);
    table.observe(LatencyKind::output, completion.output_ns);
}

void Dispatcher::deliver(std::uint64_t token, Answer& answer) {
    auto* entry = find_in_flight(token);
    if (entry == nullptr) return;
    if (entry->failed == Status::ok) entry->failed = answer.status;
    if (entry->route->port->latencies != nullptr) observe(*entry, answer);
    if (entry->sink == nullptr) return;
    const auto route = entry->route;
    const auto keep_alive = entry->keep_alive;
    const auto request = MessageView::open(entry->block.data, entry->message_bytes);
    answer.request = request ? &*request : nullptr;
    answer.route = route.get();
    entry->sink->on_answer(entry->tag, answer);
}

void Dispatcher::settle(std::uint64_t token, Answer& answer, bool inputs_leased,
                        const Completion* completion) {
    auto* entry = find_in_flight(token);
    if (entry == nullptr) return;
    count(*entry, answer);
    if (entry->route->port->latencies != nullptr) observe(*entry, answer);
    const auto block = entry->block;
    const auto route = std::move(entry->route);
    const auto keep_alive = std::move(entry->keep_alive);
    const auto regions = std::move(entry->regions);
    auto* sink = std::exchange(entry->sink, nullptr);
    const auto tag = entry->tag;
    const auto message_bytes = entry->message_bytes;
    entry->used = false;
    unused_entries_.push_back(index_of(token));
    end_flight(*route->port, message_bytes);
    if (sink != nullptr) {
        const auto request = MessageView::open(block.data, message_bytes);
        answer.request = request ? &*request : nullptr;
        answer.route = route.get();
        sink->on_answer(tag, answer);
    }
    if (inputs_leased) {
        arena_.lend(block.ref, completion->worker_index, completion->worker_epoch);
    } else {
        arena_.release(block.ref);
    }
}

void Dispatcher::take(const Completion& completion) {
    // Of a predecessor at this index: its blocks were reclaimed with its death.
    if (completion.frontend_epoch != epoch_) return;
    if ((completion.flags & kInputsReturned) != 0) {
        arena_.take_back(completion.block, completion.worker_index, completion.worker_epoch);
        return;
    }
    if ((completion.flags & kWantsInput) != 0) return take_wish(completion);
    BorrowedBlock block;
    std::optional<MessageView> response;
    if (completion.block != 0) {
        block = peers_.borrow(completion.worker_index, completion.worker_epoch, completion.block,
                              completion.block_bytes);
        response = MessageView::open(block.data, completion.block_bytes);
    }
    std::string told;
    Answer answer;
    answer.status = static_cast<Status>(completion.status);
    const bool is_empty = (completion.flags & kEmptyFinal) != 0;
    if (answer.status == Status::ok && !response && !is_empty) answer.status = Status::unavailable;
    if (answer.status == Status::ok) {
        answer.response = response ? &*response : nullptr;
    } else {
        answer.error = response ? response->text(response->header().error) : std::string_view{};
        if (answer.error.empty()) {
            const auto* entry = find_in_flight(completion.token);
            told = entry != nullptr ? loss_text(completion, entry->route->model_name) : "";
            answer.error = told.empty() ? default_error(answer.status) : std::string_view(told);
        }
    }
    answer.block = &block;
    answer.completion = &completion;
    answer.final = (completion.flags & kMoreFollow) == 0;
    if (!answer.final) {
        deliver(completion.token, answer);
        block.give_back();
        return;
    }
    settle(completion.token, answer, (completion.flags & kInputsLeased) != 0, &completion);
    block.give_back();  // unless the sink took it over
}

void Dispatcher::take_wish(const Completion& completion) {
    auto* entry = find_in_flight(completion.token);
    if (entry == nullptr || entry->sink == nullptr) return;
    entry->input_slot = completion.input_ns;
    entry->worker_index = completion.worker_index;
    entry->worker_epoch = completion.worker_epoch;
    Answer answer;
    answer.final = false;
    answer.wants_input = true;
    deliver(completion.token, answer);
}

bool Dispatcher::send_input(std::uint64_t token, const Block& block) noexcept {
    auto* entry = find_in_flight(token);
    const bool is_awaited = entry != nullptr && entry->input_slot != kNoSlot;
    if (!is_awaited ||
        !entry->route->port->queue->give_input(std::exchange(entry->input_slot, kNoSlot), token,
                                               process_, epoch_, block.ref)) {
        arena_.release(block.ref);
        return false;
    }
    arena_.lend(block.ref, entry->worker_index, entry->worker_epoch);
    // Its death may have been looked at already (`reclaim_dead`), while the queue still had it.
    if (!board_.is_current(entry->worker_index, entry->worker_epoch)) {
        arena_.take_back(block.ref, entry->worker_index, entry->worker_epoch);
    }
    return true;
}

bool Dispatcher::end_inputs(std::uint64_t token) noexcept {
    auto* entry = find_in_flight(token);
    if (entry == nullptr || entry->input_slot == kNoSlot) return false;
    return entry->route->port->queue->give_input(std::exchange(entry->input_slot, kNoSlot), token,
                                                 process_, epoch_, kInputsEnd);
}

void Dispatcher::on_wake() {
    if (wake_fd_ != kNoWakeFd) eventfd_drain(wake_fd_);
    take_answers();
}

void Dispatcher::take_answers() {
    const Delivering delivering(delivering_);
    std::array<Completion, kCompletionsAtOnce> completions;
    do {
        for (;;) {
            const auto taken = ring_.pop(completions);
            turn_ns_ = 0;
            for (std::size_t index = 0; index < taken; ++index) take(completions[index]);
            if (taken < completions.size()) break;
        }
    } while (!ring_.arm());
    if (arena_.reclaim_dead(board_) != 0) peers_.forget_gone(board_);
    if (!scheduled_.empty()) flush();
    flush_dirty();
    turn_ns_ = 0;  // the next turn looks again
}

void Dispatcher::flush_dirty() {
    while (!dirty_.empty()) {
        const auto sinks = std::exchange(dirty_, {});
        for (const auto& dirty : sinks) dirty.sink->flush();
    }
}

}  // namespace mpserve::bind
