// The sockets of one event loop that the core reads itself, and the wake of its answers: an epoll
// set within the loop's own.
//
// Guarantees: all that is ready in a turn of the loop is read in one call; the requests that came
//   are pushed together at its end, then answers are taken. A reader that goes while the turn lasts
//   is not called any more. What a reader raises ends that reader's connection, nobody else's.
// Assumes: one event loop thread; the loop calls `turn` whenever `descriptor` is readable.
// Owner: the dispatcher of a frontend. Source: docs/adr/0031-reading-past-the-transport.md.
#pragma once

#include <cstdint>
#include <vector>

#include <nanobind/nanobind.h>

namespace mpserve::bind {

class ClientInlet;
class Dispatcher;

class SocketSet {
public:
    // `wake_fd` is the eventfd of the dispatcher's answers. Raises OSError where the system refuses
    // one more descriptor.
    SocketSet(Dispatcher& dispatcher, int wake_fd);
    ~SocketSet();
    SocketSet(const SocketSet&) = delete;
    SocketSet& operator=(const SocketSet&) = delete;

    int descriptor() const noexcept { return set_; }

    // Calls `reader` when something comes on `socket`, until `remove` of the place that is
    // returned. kNoPlace where the system refuses.
    static constexpr std::uint32_t kNoPlace = 0xFFFFFFFF;
    std::uint32_t add(int socket, ClientInlet* reader);
    // Before the socket is closed, or its reader goes.
    void remove(int socket, std::uint32_t place) noexcept;
    // There may be more than was read: calls the reader in the next turn.
    void again(int socket, std::uint32_t place) noexcept;

    void turn();

private:
    struct Place {
        ClientInlet* reader = nullptr;
        std::uint32_t use = 0;  // grows with each: an event of an earlier one is nobody's
    };

    void read(std::uint64_t tag, bool has_end);

    Dispatcher& dispatcher_;
    int set_;
    std::vector<Place> places_;
    std::vector<std::uint32_t> unused_;
};

}  // namespace mpserve::bind
