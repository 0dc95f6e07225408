#include "dispatcher.hpp"

#include <algorithm>

#include "mpserve/wake.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr std::string_view kTimeoutExpired = "Request timeout expired";  // Triton's text
constexpr std::size_t kPushesAtOnce = 256;
constexpr std::uint64_t kAttendToken = UINT64_MAX;  // of no request

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
      wake_rule_(wake_fd == kNoWakeFd ? WakeRule::all : WakeRule::worth),
      // Each request in a queue has room for its answer, and for one that the reaper adds.
      max_pushed_(ring_.capacity() / 2),
      max_in_flight_(std::max(max_in_flight, max_pushed_)) {
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
    entry.serial = 0;
    if (!has_room(*submission.route)) {
        refused_.push_back({.token = token});
        schedule_flush();
    } else {
        if (submission.mark == nullptr) {
            line_up(*port, submission, entry, token);
        } else {
            line_up_sequenced(*port, submission, token);
        }
        begin_flight(*port, submission.message_bytes);
        ++unpushed_;
        port->bytes.unpushed += submission.message_bytes;
        bytes_.unpushed += submission.message_bytes;
        if (traffic_->is_on()) traffic_->found_in_flight(in_flight_);
        schedule(port);
    }
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

void Dispatcher::line_up(QueuePort& port, const Submission& submission, InFlight& entry,
                         std::uint64_t token) {
    const auto& policy = submission.route->policy;
    auto place = policy.place(submission.priority, submission.timeout_us, turn_ns());
    if (place.deadline_ns != 0 && place.on_timeout == OnTimeout::reject) {
        watch(place.deadline_ns, token);
    }
    place.end_by(submission.deadline_ns);
    entry.level = place.level;
    entry.serial =
        port.pending.add({.request = {.token = token,
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

void Dispatcher::push_pending(const std::shared_ptr<QueuePort>& owner) {
    auto& port = *owner;
    auto& pending = port.pending;
    std::vector<std::uint64_t> refused;
    bool retired = false;
    for (std::size_t places = free_places(port); places != 0 && !pending.empty();) {
        const auto most = std::min(places, kPushesAtOnce);
        const auto next = retired ? pending.front(most) : next_pushes(port, most);
        if (next.empty()) break;
        const auto outcome =
            port.queue->push(next, process_, epoch_, ring_index_, turn_ns(), wake_rule_);
        if (outcome.unattended) attend(owner, outcome.taken);
        retired = outcome.retired;
        const auto handled = retired ? next : next.first(outcome.handled);
        std::uint64_t bytes = 0;
        for (const auto& push : handled) {
            bytes += push.request.block_bytes;
            if (retired || push.refused) refused.push_back(push.request.token);
        }
        leave_line(port, static_cast<std::uint32_t>(handled.size()), bytes);
        pending.drop(handled.size());
        port.instances = std::max(outcome.instances, 1U);
        if (outcome.full) break;
        places = retired ? pending.size() : places - handled.size();
    }
    port.counters->unpushed.store(pending.size(), std::memory_order_relaxed);
    const auto why = retired ? Status::not_ready : Status::exhausted;
    for (const auto token : refused) {
        const auto told = retired ? default_error(why) : std::string_view{};
        refuse(token, {.status = why, .error = told, .refused = !retired});
    }
}

// Answers a request that no instance has seen.
void Dispatcher::refuse(std::uint64_t token, Answer answer) {
    const auto* entry = find_in_flight(token);
    if (entry == nullptr) return;
    std::string text;
    if (answer.error.empty()) {
        const auto request = MessageView::open(entry->block.data, entry->message_bytes);
        text = queue_full_text(request ? request->text(request->header().id) : std::string_view{});
        answer.error = text;
    }
    settle(token, answer, false, nullptr);
}

// Looks after what waits there until nothing does.
void Dispatcher::attend(const std::shared_ptr<QueuePort>& port, std::uint64_t taken) {
    if (port->attended) return;
    port->attended = true;
    port->taken = taken;
    attended_.push_back(port);
    if (attended_.size() == 1) watch(turn_ns() + kAttendNs, kAttendToken);
}

void Dispatcher::look_after() {
    std::erase_if(attended_, [](const auto& port) {
        const auto [waits, taken] = port->queue->attend(port->taken);
        port->attended = waits;
        port->taken = taken;
        return !waits;
    });
    if (!attended_.empty()) watch(turn_ns() + kAttendNs, kAttendToken);
}

void Dispatcher::watch(std::uint64_t deadline_ns, std::uint64_t token) {
    timer_.add(deadline_ns, token, [this](std::uint64_t other) {
        return other == kAttendToken || find_in_flight(other) != nullptr;
    });
    timer_.arm(turn_ns(), timer_callable);
}

// What waits past its deadline is answered now, however busy the instances are.
void Dispatcher::on_timer() {
    turn_ns_ = 0;
    const auto now = turn_ns();
    timer_.went_off();
    while (const auto token = timer_.take_due(now)) {
        if (token == kAttendToken) {
            look_after();
            continue;
        }
        const auto* entry = find_in_flight(token);
        if (entry == nullptr || !take_back(*entry, token)) continue;
        refuse(token, {.status = Status::deadline, .error = kTimeoutExpired});
    }
    timer_.arm(now, timer_callable);
    if (!scheduled_.empty()) schedule_flush();
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
            push_pending(port);
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
    refuse_what_found_no_room();
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
    refuse(token, {.status = Status::cancelled, .error = default_error(Status::cancelled)});
    turn_ns_ = 0;
    if (scheduled_.empty()) return;
    try {
        schedule_flush();  // its share is free
    } catch (nb::python_error& error) {
        error.discard_as_unraisable("requests that go on when others are taken back");
    }
}

bool Dispatcher::take_back(const InFlight& entry, std::uint64_t token) noexcept {
    auto& port = *entry.route->port;
    if (!port.pending.take_back(entry.level, entry.serial) &&
        std::erase_if(port.sequenced,
                      [token](const auto& one) { return one.request.token == token; }) == 0) {
        return port.queue->cancel(token, process_, epoch_);
    }
    leave_line(port, 1, entry.message_bytes);
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
