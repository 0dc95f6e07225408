// The way in from a client: the loop's transport, or the socket itself, read by a `SocketSet`.
//
// Guarantees
//   - Bytes come in order, whichever way each takes.
//   - Nothing goes past TLS.
//   - Ends and errors of the socket are the transport's to find: it reads again then.
//   - A connection that brings nothing but its first bytes costs no place in the set.
// Assumes: the transport closes its socket after it has called `connection_lost`; `close` was
//   called by then.
// Why: a read through the transport costs two calls into Python and a turn of the loop for each
//   socket.
#pragma once

#include <cstddef>
#include <cstdint>

#include <nanobind/nanobind.h>

#include "socket_set.hpp"

namespace mpserve::bind {

// Who takes what comes: asyncio's BufferedProtocol, natively.
class ByteTaker {
public:
    ByteTaker() = default;
    ByteTaker(const ByteTaker&) = delete;
    ByteTaker& operator=(const ByteTaker&) = delete;
    virtual ~ByteTaker() = default;

    // Where the next bytes go, and how many may.
    virtual std::byte* read_target(std::size_t& bytes) noexcept = 0;
    virtual void buffer_updated(std::size_t bytes) = 0;
    virtual nanobind::object keep() const = 0;
};

class ClientInlet {
public:
    explicit ClientInlet(ByteTaker& taker) noexcept : taker_(taker) {}
    ~ClientInlet() { close(); }
    ClientInlet(const ClientInlet&) = delete;
    ClientInlet& operator=(const ClientInlet&) = delete;

    // `set` is null where there is only the transport.
    void open(const nanobind::object& transport, SocketSet* set);
    void close() noexcept;
    // The transport has brought something.
    void came_by_transport();
    // Nothing is read in between.
    void pause();
    void resume();
    // The transport reads from now on.
    void hand_back();

    // For the set. Something came: it is read until there is no more, or asked for `again`;
    // `has_end`: the end is behind it.
    void on_readable(bool has_end);
    // What keeps the inlet alive.
    nanobind::object keep() const { return taker_.keep(); }
    // `on_readable` raised: nothing can be said to the client any more.
    void give_up();

private:
    static constexpr std::uint8_t kReadsBefore = 2;  // by the transport

    bool is_in_set() const noexcept { return place_ != SocketSet::kNoPlace; }
    bool enter();
    void leave() noexcept;

    ByteTaker& taker_;
    nanobind::object transport_;
    SocketSet* set_ = nullptr;  // null: the transport reads for good
    int socket_ = -1;
    std::uint32_t place_ = SocketSet::kNoPlace;
    std::uint8_t reads_ = 0;
    bool is_paused_ = false;
    bool is_ours_ = false;  // the transport is told not to read
};

}  // namespace mpserve::bind
