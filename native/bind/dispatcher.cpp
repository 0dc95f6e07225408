#include "dispatcher.hpp"

#include <algorithm>

#include "mpserve/wake.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr std::string_view kTimeoutExpired = "Request timeout expired";  // Triton's text

}  // namespace

std::string queue_full_text(std::string_view request_id) {
    return "[request id: " + std::string(request_id.empty() ? "<id_unknown>" : request_id) +
           "] Exceeds maximum queue size";
}

Dispatcher::Dispatcher(nb::object board, std::uint32_t process, std::uint32_t epoch,
                       std::uint32_t ring_index, nb::object arena, nb::object ring, int wake_fd,
                       nb::object attach, nb::object call_soon, nb::object call_later,
                       nb::object regions, nb::object on_restarted, std::uint32_t max_in_flight)
    : board_owner_(std::move(board)),
      arena_owner_(std::move(arena)),
      ring_owner_(std::move(ring)),
      regions_owner_(std::move(regions)),
      call_soon_(std::move(call_soon)),
      on_restarted_(std::move(on_restarted)),
      regions_(regions_owner_.is_none() ? nullptr : &nb::cast<RegionTableObject&>(regions_owner_)),
      board_(nb::cast<BoardObject&>(board_owner_).board),
      arena_(nb::cast<ArenaObject&>(arena_owner_).arena),
      ring_(nb::cast<RingObject&>(ring_owner_).ring),
      peers_(std::move(attach)),
      timer_(std::move(call_later)),
      process_(process),
      epoch_(epoch),
      ring_index_(ring_index),
      wake_fd_(wake_fd),
      // Each request in flight has room for its answer, and for one that the reaper adds.
      max_in_flight_(std::min(max_in_flight, ring_.capacity() / 2)) {
    if (ring_index >= kMaxRings) throw nb::value_error("frontend_index: out of range");
    // The first `on_wake` takes what a predecessor left and announces that we sleep.
    if (wake_fd_ != kNoWakeFd) eventfd_signal(wake_fd_);
}

void Dispatcher::update(std::string name, StringMap<RouteRef> versions) {
    routes_.insert_or_assign(std::move(name), std::move(versions));
    look_for_headers();
}

void Dispatcher::look_for_headers() noexcept {
    takes_headers_ = std::ranges::any_of(routes_, [](const auto& model) {
        return std::ranges::any_of(
            model.second, [](const auto& version) { return version.second->takes_headers; });
    });
}

void Dispatcher::remove(std::string_view name) {
    const auto found = routes_.find(name);
    if (found != routes_.end()) routes_.erase(found);
    look_for_headers();
}

const RouteRef* Dispatcher::find(std::string_view name, std::string_view version) const noexcept {
    const auto model = routes_.find(name);
    if (model == routes_.end()) return nullptr;
    const auto route = model->second.find(version);
    return route == model->second.end() ? nullptr : &route->second;
}

// A model whose policy sets no bound may take half of what there is: it can not shut out others.
bool Dispatcher::has_room(const Route& route) const noexcept {
    const bool is_bounded = route.policy.general.max_waiting != 0;
    return in_flight_ < max_in_flight_ &&
           route.port->in_flight < (is_bounded ? max_in_flight_ : max_in_flight_ / 2);
}

void Dispatcher::describe(const MessageView& view, Submission& submission) const {
    describe_batch(view, submission);
    if (regions_ == nullptr) return;
    auto ids = regions_of(view);
    if (!ids.empty()) submission.regions = RegionHold(regions_owner_, std::move(ids));
}

std::uint64_t Dispatcher::submit(Submission submission, AnswerSink* sink, nb::object keep_alive,
                                 std::uint64_t tag) {
    std::uint32_t index = 0;
    if (unused_entries_.empty()) {
        index = static_cast<std::uint32_t>(entries_.size());
        entries_.emplace_back();
    } else {
        index = unused_entries_.back();
        unused_entries_.pop_back();
    }
    auto& entry = entries_[index];
    ++entry.turn;
    const auto token = (std::uint64_t{entry.turn} << 32) | index;
    auto& port = submission.route->port;
    if (submission.mark == nullptr) {
        line_up(*port, submission, token);
    } else {
        line_up_sequenced(*port, submission, token);
    }
    ++port->in_flight;
    ++in_flight_;
    if (traffic_->is_on()) traffic_->found_in_flight(in_flight_);
    schedule(port);
    entry.used = true;
    entry.sink = sink;
    entry.keep_alive = std::move(keep_alive);
    entry.tag = tag;
    entry.block = submission.block;
    entry.message_bytes = submission.message_bytes;
    entry.submitted_ns = turn_ns();
    entry.failed = Status::ok;
    entry.regions = std::move(submission.regions);
    entry.responded = false;
    entry.input_slot = kNoSlot;
    entry.route = std::move(submission.route);
    return token;
}

// By level, and among equals in order.
void Dispatcher::line_up(QueuePort& port, const Submission& submission, std::uint64_t token) {
    const auto& policy = submission.route->policy;
    auto place = policy.place(submission.priority, submission.timeout_us, turn_ns());
    if (place.deadline_ns != 0 && place.on_timeout == OnTimeout::reject) {
        watch(place.deadline_ns, token);
    }
    place.end_by(submission.deadline_ns);
    auto& pending = port.pending;
    // Nearly always at the end.
    auto behind = pending.end();
    while (behind != pending.begin() && (behind - 1)->request.level > place.level) --behind;
    pending.insert(behind, {.request = {.token = token,
                                        .block = submission.block.ref,
                                        .block_bytes = submission.message_bytes,
                                        .deadline_ns = place.deadline_ns,
                                        .shape_digest = submission.shape_digest,
                                        .level = place.level,
                                        .rows = submission.rows,
                                        .on_timeout = static_cast<std::uint32_t>(place.on_timeout)},
                            .max_waiting = place.max_waiting});
}

void Dispatcher::schedule(const std::shared_ptr<QueuePort>& port) {
    if (!port->scheduled) {
        port->scheduled = true;
        scheduled_.push_back(port);
    }
    schedule_flush();
}

void Dispatcher::schedule_flush() {
    if (flush_scheduled_) return;
    flush_scheduled_ = true;
    if (!in_turn_) call_soon_(flush_callable);
}

int Dispatcher::open_sockets() {
    sockets_ = std::make_unique<SocketSet>(*this, wake_fd_);
    return sockets_->descriptor();
}

void Dispatcher::end_turn() {
    in_turn_ = false;
    if (flush_scheduled_) flush();
}

void Dispatcher::mark_dirty(AnswerSink* sink, nb::object keep_alive) {
    dirty_.push_back({sink, std::move(keep_alive)});
    if (!delivering_) schedule_flush();
}

// Requests that are submitted in one turn, and answers that are taken in one, share a moment: they
// come from one read of a socket or a ring, microseconds apart.
std::uint64_t Dispatcher::turn_ns() noexcept {
    if (turn_ns_ == 0) turn_ns_ = now_ns();
    return turn_ns_;
}

void Dispatcher::count_traffic(nb::object traffic) {
    traffic_ = &nb::cast<TrafficObject&>(traffic).traffic;
    traffic_owner_ = std::move(traffic);
}

void Dispatcher::push_pending(QueuePort& port) {
    const auto outcome = port.queue->push(port.pending, process_, epoch_, ring_index_);
    if (outcome.retired) {
        const auto refused = std::exchange(port.pending, {});
        port.counters->unpushed.store(0, std::memory_order_relaxed);
        for (const auto& push : refused) {
            refuse(push.request.token,
                   {.status = Status::not_ready, .error = default_error(Status::not_ready)});
        }
        return;
    }
    std::vector<std::uint64_t> refused;
    const auto handled = port.pending.begin() + static_cast<std::ptrdiff_t>(outcome.handled);
    for (auto push = port.pending.begin(); push != handled; ++push) {
        if (push->refused) refused.push_back(push->request.token);
    }
    port.pending.erase(port.pending.begin(), handled);
    port.counters->unpushed.store(port.pending.size(), std::memory_order_relaxed);
    for (const auto token : refused) {
        refuse(token, {.status = Status::exhausted, .refused = true});
    }
}

// Answers a request that no instance has seen.
void Dispatcher::refuse(std::uint64_t token, Answer answer) {
    const auto* entry = find_in_flight(token);
    if (entry == nullptr) return;
    std::string text;
    if (answer.refused) {
        const auto request = MessageView::open(entry->block.data, entry->message_bytes);
        text = queue_full_text(request ? request->text(request->header().id) : std::string_view{});
        answer.error = text;
    }
    settle(token, answer, false, nullptr);
}

void Dispatcher::watch(std::uint64_t deadline_ns, std::uint64_t token) {
    timer_.add(deadline_ns, token,
               [this](std::uint64_t other) { return find_in_flight(other) != nullptr; });
    timer_.arm(turn_ns(), timer_callable);
}

// What waits past its deadline is answered now, however busy the instances are.
void Dispatcher::on_timer() {
    turn_ns_ = 0;
    const auto now = turn_ns();
    timer_.went_off();
    while (const auto token = timer_.take_due(now)) {
        const auto* entry = find_in_flight(token);
        if (entry == nullptr || !take_back(*entry, token)) continue;
        refuse(token, {.status = Status::deadline, .error = kTimeoutExpired});
    }
    timer_.arm(now, timer_callable);
    flush_dirty();
    turn_ns_ = 0;
}

void Dispatcher::flush() {
    flush_scheduled_ = false;
    turn_ns_ = 0;  // a full queue may have held requests back for long
    // Two lists take turns, so that no turn allocates.
    starved_.swap(scheduled_);
    scheduled_.clear();
    for (auto& port : starved_) {
        port->scheduled = false;
        if (port->sequenced.empty()) {
            push_pending(*port);
        } else {
            push_sequenced(*port);
        }
    }
    // What found no room goes on when the queue signals free slots, by way of on_wake.
    std::erase_if(starved_, [](const auto& port) { return port->unpushed() == 0; });
    for (auto& port : starved_) {
        if (port->scheduled) continue;
        port->scheduled = true;
        scheduled_.push_back(port);
    }
    starved_.clear();
    flush_dirty();
    turn_ns_ = 0;
}

Dispatcher::InFlight* Dispatcher::find_in_flight(std::uint64_t token) noexcept {
    const auto index = index_of(token);
    if (index >= entries_.size()) return nullptr;
    auto& entry = entries_[index];
    return entry.used && entry.turn == token >> 32 ? &entry : nullptr;
}

void Dispatcher::forget(std::uint64_t token) noexcept {
    auto* entry = find_in_flight(token);
    if (entry == nullptr) return;
    entry->sink = nullptr;
    if (!take_back(*entry, token)) {
        // It runs: its answers are dropped when they come, and the model can ask.
        entry->route->port->queue->mark_cancelled(token, process_, epoch_);
        return;
    }
    turn_ns_ = 0;
    refuse(token, {.status = Status::cancelled});
    turn_ns_ = 0;
}

bool Dispatcher::take_back(const InFlight& entry, std::uint64_t token) noexcept {
    auto& port = *entry.route->port;
    const auto waiting =
        std::find_if(port.pending.begin(), port.pending.end(),
                     [token](const auto& push) { return push.request.token == token; });
    if (waiting != port.pending.end()) {
        port.pending.erase(waiting);
    } else if (std::erase_if(port.sequenced, [token](const auto& one) {
                   return one.request.token == token;
               }) == 0) {
        return port.queue->cancel(token, process_, epoch_);
    }
    port.counters->unpushed.store(port.unpushed(), std::memory_order_relaxed);
    return true;
}

void Dispatcher::trim() {
    arena_.collect();
    arena_.trim_idle();
    peers_.forget_gone(board_);
    ring_.tell_arena(arena_.used_bytes(), arena_.total_bytes());
}

}  // namespace mpserve::bind
