// The socket of a transport that may be read and written without it.
#pragma once

#include <nanobind/nanobind.h>

namespace mpserve::bind {

// Its descriptor; below 0 where there is none, or what goes over it is encrypted.
inline int plain_socket(const nanobind::object& transport) {
    const auto extra = transport.attr("get_extra_info");
    const auto socket = extra("socket");
    if (socket.is_none() || !extra("sslcontext").is_none()) return -1;
    return nanobind::cast<int>(socket.attr("fileno")());
}

}  // namespace mpserve::bind
