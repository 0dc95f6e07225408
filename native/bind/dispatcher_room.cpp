// What a dispatcher has room for: places in queues, and bytes of its arena.
#include <algorithm>
#include <string>
#include <utility>

#include "dispatcher.hpp"

namespace mpserve::bind {

namespace {

constexpr std::uint32_t kMostSequenced = 2048;  // in flight, of one model with sequences

}  // namespace

// A model whose policy sets no bound may take half of what there is: it can not shut out others.
// The limit of one that does is kept by its queue, so what is in flight has to be there.
bool Dispatcher::has_room(const Route& route) const noexcept {
    const auto& port = *route.port;
    auto most = port.is_bounded ? max_pushed_ : max_in_flight_ / 2;
    if (route.sequences) most = std::min(most, kMostSequenced);
    if (in_flight_ >= max_in_flight_ || port.in_flight >= most) return false;
    // Where others have all places of the ring, it would wait for them and not for its model.
    return free_places() != 0 || port.in_flight != port.unpushed();
}

// One without a bound may have as many as are still free then: some are always left for others.
std::uint32_t Dispatcher::free_places(const QueuePort& port) const noexcept {
    const auto free = free_places();
    if (port.is_bounded) return free;
    const auto pushed = port.in_flight - static_cast<std::uint32_t>(port.unpushed());
    return static_cast<std::uint32_t>(share_left(free, pushed));
}

// Likewise of the arena's bytes, but that each instance has one to execute and there is one more.
std::span<QueuePush> Dispatcher::next_pushes(QueuePort& port, std::size_t places) const noexcept {
    const auto next = port.pending.front(places);
    if (port.is_bounded) return next;
    const auto free = arena_.max_bytes() - std::min(arena_.max_bytes(), bytes_.pushed());
    const auto left = share_left(free, port.bytes.pushed());
    if (port.bytes.unpushed <= left) return next;
    const auto pushed = port.in_flight - port.unpushed();
    const std::size_t least = port.instances + 1;
    return next.first(fitting(next, left, pushed < least ? least - pushed : 0));
}

void Dispatcher::begin_flight(QueuePort& port, std::uint64_t bytes) noexcept {
    ++port.in_flight;
    ++in_flight_;
    port.bytes.all += bytes;
    bytes_.all += bytes;
}

void Dispatcher::end_flight(QueuePort& port, std::uint64_t bytes) noexcept {
    --port.in_flight;
    --in_flight_;
    port.bytes.all -= bytes;
    bytes_.all -= bytes;
}

// They were pushed, refused or taken back.
void Dispatcher::leave_line(QueuePort& port, std::uint32_t requests, std::uint64_t bytes) noexcept {
    unpushed_ -= requests;
    port.bytes.unpushed -= bytes;
    bytes_.unpushed -= bytes;
}

Block Dispatcher::allocate(const Route& route, std::uint64_t bytes) {
    auto block = arena_.allocate(bytes);
    if (block || bytes > arena_.max_bytes()) return block;
    const auto wanting = route.port->bytes.all + bytes;
    const auto leaving = who_give_way(who_wait(), arena_.lacking(bytes), wanting);
    if (leaving.empty()) return {};
    for (const auto token : leaving) push_out(token);
    return arena_.allocate(bytes);
}

// Of models with a limit all lie in the queue, and are taken back there if no instance has them. A
// sequence would end with a request that it lacks.
std::vector<Waiting> Dispatcher::who_wait() {
    std::vector<Waiting> waiting;
    for (std::uint32_t index = 0; index < entries_.size(); ++index) {
        const auto& entry = entries_[index];
        if (!entry.used || !Arena::is_large(entry.block) || entry.route->sequences) continue;
        auto& port = *entry.route->port;
        if (!port.is_bounded && !port.pending.holds(entry.level, entry.serial)) continue;
        waiting.push_back({.token = (std::uint64_t{entry.turn} << 32) | index,
                           .bytes = entry.block.bytes,
                           .came_ns = entry.submitted_ns,
                           .model = &port,
                           .held = port.bytes.all});
    }
    return waiting;
}

// Its block is free at once; it is told so at the end of the turn.
void Dispatcher::push_out(std::uint64_t token) {
    auto& entry = *find_in_flight(token);
    auto& port = *entry.route->port;
    if (!take_back(entry, token)) return;
    const auto request = MessageView::open(entry.block.data, entry.message_bytes);
    const auto id = request ? request->text(request->header().id) : std::string_view{};
    std::string text = "[request id: " + std::string(id.empty() ? "<id_unknown>" : id) +
                       "] Failed to keep " + std::to_string(entry.message_bytes) +
                       " bytes in the shared memory pool for key 'arena': the requests of model '" +
                       entry.route->model_name + "' hold " + std::to_string(port.bytes.all) +
                       " of " + std::to_string(arena_.max_bytes()) +
                       " bytes, and another model needs room; send it again later, or raise "
                       "--arena-max-bytes";
    end_flight(port, std::exchange(entry.message_bytes, 0));
    arena_.release(std::exchange(entry.block, {}).ref);
    refused_.push_back({.token = token, .text = std::move(text)});
    schedule_flush();
}

void Dispatcher::refuse_what_found_no_room() {
    if (refused_.empty()) return;
    for (const auto& [token, text] : std::exchange(refused_, {})) {
        const auto& entry = *find_in_flight(token);
        begin_flight(*entry.route->port, entry.message_bytes);  // which ends here
        refuse(token, {.status = Status::exhausted, .error = text, .refused = true});
    }
}

}  // namespace mpserve::bind
