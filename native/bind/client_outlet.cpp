#include "client_outlet.hpp"

#include <sys/socket.h>

namespace nb = nanobind;

namespace mpserve::bind {

void ClientOutlet::open(const nb::object& transport) {
    write_ = transport.attr("write");
    unsent_ = transport.attr("get_write_buffer_size");
    const auto extra = transport.attr("get_extra_info");
    const auto socket = extra("socket");
    if (!socket.is_none() && extra("sslcontext").is_none()) {
        socket_ = nb::cast<int>(socket.attr("fileno")());
    }
}

void ClientOutlet::close() {
    socket_ = -1;
    write_.reset();
    unsent_.reset();
}

// What is left when it says false goes through the transport; so does an error, to be found there.
bool ClientOutlet::send_now(std::string_view& bytes) {
    if (socket_ < 0) return false;
    if (transport_may_hold_) transport_may_hold_ = unsent_bytes() != 0;
    if (transport_may_hold_) return false;
    const auto sent = ::send(socket_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent <= 0) return false;
    given_bytes_ += static_cast<std::uint64_t>(sent);
    bytes.remove_prefix(static_cast<std::size_t>(sent));
    return bytes.empty();
}

void ClientOutlet::send(std::string_view bytes) {
    if (!send_now(bytes)) queue(bytes);
}

void ClientOutlet::queue(std::string_view bytes) {
    lend(nb::steal(PyBytes_FromStringAndSize(bytes.data(), static_cast<Py_ssize_t>(bytes.size()))));
}

void ClientOutlet::lend(nb::handle data) {
    if (!is_open()) return;
    given_bytes_ += static_cast<std::uint64_t>(PyObject_Length(data.ptr()));
    transport_may_hold_ = true;
    write_(data);
}

std::uint64_t ClientOutlet::unsent_bytes() const {
    return is_open() ? nb::cast<std::uint64_t>(unsent_()) : 0;
}

}  // namespace mpserve::bind
