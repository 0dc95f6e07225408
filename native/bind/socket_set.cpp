#include "socket_set.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "client_inlet.hpp"
#include "dispatcher.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr std::size_t kReadyAtOnce = 256;  // the rest is still ready in the next turn
// Levels would be looked at once more by each of the two sets after every read.
constexpr std::uint32_t kEdges = EPOLLIN | EPOLLRDHUP | EPOLLET;
constexpr std::uint32_t kEnds = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
constexpr std::uint64_t kAnswers = ~std::uint64_t{0};

constexpr std::uint64_t tag_of(std::uint32_t place, std::uint32_t use) noexcept {
    return std::uint64_t{use} << 32 | place;
}

[[noreturn]] void raise_errno() {
    PyErr_SetFromErrno(PyExc_OSError);
    throw nb::python_error();
}

}  // namespace

SocketSet::SocketSet(Dispatcher& dispatcher, int wake_fd)
    : dispatcher_(dispatcher), set_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (set_ < 0) raise_errno();
    // Edges are told whatever its count, so that nobody has to read it.
    epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u64 = kAnswers}};
    if (::epoll_ctl(set_, EPOLL_CTL_ADD, wake_fd, &event) != 0) {
        const auto error = errno;
        ::close(set_);
        errno = error;
        raise_errno();
    }
}

SocketSet::~SocketSet() { ::close(set_); }

std::uint32_t SocketSet::add(int socket, ClientInlet* reader) {
    if (unused_.empty()) {
        unused_.push_back(static_cast<std::uint32_t>(places_.size()));
        places_.emplace_back();
    }
    const auto place = unused_.back();
    auto& taken = places_[place];
    epoll_event event{.events = kEdges, .data = {.u64 = tag_of(place, taken.use)}};
    if (::epoll_ctl(set_, EPOLL_CTL_ADD, socket, &event) != 0) return kNoPlace;
    unused_.pop_back();
    taken.reader = reader;
    return place;
}

void SocketSet::remove(int socket, std::uint32_t place) noexcept {
    ::epoll_ctl(set_, EPOLL_CTL_DEL, socket, nullptr);
    places_[place].reader = nullptr;
    ++places_[place].use;
    unused_.push_back(place);
}

void SocketSet::again(int socket, std::uint32_t place) noexcept {
    epoll_event event{.events = kEdges, .data = {.u64 = tag_of(place, places_[place].use)}};
    ::epoll_ctl(set_, EPOLL_CTL_MOD, socket, &event);
}

void SocketSet::turn() {
    std::array<epoll_event, kReadyAtOnce> ready;
    const auto count = ::epoll_wait(set_, ready.data(), static_cast<int>(ready.size()), 0);
    bool has_answers = false;
    dispatcher_.begin_turn();
    for (int index = 0; index < count; ++index) {
        const auto& [events, data] = ready[static_cast<std::size_t>(index)];
        const auto tag = data.u64;
        if (tag == kAnswers) {
            has_answers = true;
        } else {
            read(tag, (events & kEnds) != 0);
        }
    }
    dispatcher_.end_turn();
    if (has_answers) dispatcher_.take_answers();
}

void SocketSet::read(std::uint64_t tag, bool has_end) {
    const auto place = static_cast<std::uint32_t>(tag);
    if (tag_of(place, places_[place].use) != tag) return;
    auto* reader = places_[place].reader;
    if (reader == nullptr) return;
    const auto keep = reader->keep();
    try {
        reader->on_readable(has_end);
    } catch (nb::python_error& error) {
        error.discard_as_unraisable(keep);
        reader->give_up();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
        PyErr_WriteUnraisable(keep.ptr());
        reader->give_up();
    }
}

}  // namespace mpserve::bind
