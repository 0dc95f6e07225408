#include "client_inlet.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "plain_socket.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

// Of one socket in a turn, while each fills all the room there was: others wait.
constexpr int kReadsAtOnce = 16;

}  // namespace

void ClientInlet::open(const nb::object& transport, SocketSet* set) {
    transport_ = transport;
    if (set == nullptr) return;
    socket_ = plain_socket(transport);
    if (socket_ >= 0) set_ = set;
}

void ClientInlet::close() noexcept {
    leave();
    set_ = nullptr;
    transport_.reset();
}

bool ClientInlet::enter() {
    place_ = set_->add(socket_, this);
    return is_in_set();
}

void ClientInlet::leave() noexcept {
    if (is_in_set()) set_->remove(socket_, std::exchange(place_, SocketSet::kNoPlace));
}

void ClientInlet::came_by_transport() {
    if (set_ == nullptr || is_ours_ || is_paused_ || ++reads_ < kReadsBefore) return;
    if (!enter()) {
        set_ = nullptr;
        return;
    }
    is_ours_ = true;
    transport_.attr("pause_reading")();
}

void ClientInlet::pause() {
    if (std::exchange(is_paused_, true) || !transport_.is_valid()) return;
    if (is_ours_) {
        leave();
    } else {
        transport_.attr("pause_reading")();
    }
}

void ClientInlet::resume() {
    if (!std::exchange(is_paused_, false) || !transport_.is_valid()) return;
    if (!is_ours_) {
        transport_.attr("resume_reading")();
    } else if (!enter()) {
        hand_back();
    }
}

void ClientInlet::hand_back() {
    leave();
    set_ = nullptr;
    const bool was_paused = std::exchange(is_paused_, false);
    if (std::exchange(is_ours_, false) || was_paused) transport_.attr("resume_reading")();
}

void ClientInlet::on_readable(bool has_end) {
    for (int reads = 0; reads < kReadsAtOnce && is_in_set(); ++reads) {
        std::size_t room = 0;
        auto* place = taker_.read_target(room);
        const auto got = ::recv(socket_, place, room, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) return hand_back();
        taker_.buffer_updated(static_cast<std::size_t>(got));
        if (static_cast<std::size_t>(got) < room && !has_end) return;
    }
    if (is_in_set()) set_->again(socket_, place_);
}

void ClientInlet::give_up() {
    const auto transport = transport_;
    leave();
    if (transport.is_valid()) transport.attr("abort")();
}

}  // namespace mpserve::bind
