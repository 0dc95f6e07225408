// The way out to a client: the socket itself where it takes all at once, else the loop's transport.
//
// Guarantees
//   - Bytes leave in the order in which they were given, whichever way each takes.
//   - What the socket does not take at once is the transport's: it waits for the client, says when
//     to pause, and finds out that the client is gone.
//   - Nothing goes past TLS.
//   - No byte of a large answer is copied on the way: what is left of it goes with its memory.
// Assumes: the transport closes its socket after it has called `connection_lost`, as asyncio's and
//   uvloop's do; `close` was called by then.
// Why: a small answer costs an object, a queue of the loop and its end of turn on the way through
//   the transport, 1 to 2 µs, and nearly always finds the socket empty.
#pragma once

#include <cstdint>
#include <string_view>

#include <nanobind/nanobind.h>

#include "mpserve/byte_buffer.hpp"

namespace mpserve::bind {

class ClientOutlet {
public:
    void open(const nanobind::object& transport);
    void close();
    bool is_open() const noexcept { return write_.is_valid(); }

    // One answer, or all of a turn: leaves now where it can. The buffer is empty then, and keeps
    // no more memory than small answers need.
    void send(ByteBuffer& bytes);
    // One of several pieces: the transport puts those of a turn together.
    void queue(std::string_view bytes);
    // Bytes-like; kept, and read later.
    void lend(nanobind::handle data);

    // All that was given, whether it has left or not.
    std::uint64_t given_bytes() const noexcept { return given_bytes_; }
    // What the transport still holds of it.
    std::uint64_t unsent_bytes() const;

private:
    std::size_t send_now(std::string_view bytes);

    nanobind::object write_;  // the transport's
    nanobind::object unsent_;
    int socket_ = -1;  // below 0: there is only the transport
    bool transport_may_hold_ = false;
    std::uint64_t given_bytes_ = 0;
};

}  // namespace mpserve::bind
