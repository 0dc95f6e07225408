#include "client_outlet.hpp"

#include <sys/socket.h>

#include <memory>

#include "lent_bytes.hpp"
#include "plain_socket.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

// From here on a buffer is given away rather than copied or kept.
constexpr std::size_t kLargeBytes = 64 * 1024;

}  // namespace

void ClientOutlet::open(const nb::object& transport) {
    write_ = transport.attr("write");
    unsent_ = transport.attr("get_write_buffer_size");
    socket_ = plain_socket(transport);
}

void ClientOutlet::close() {
    socket_ = -1;
    write_.reset();
    unsent_.reset();
}

// How much has left. The rest goes through the transport; so does an error, to be found there.
std::size_t ClientOutlet::send_now(std::string_view bytes) {
    if (socket_ < 0) return 0;
    if (transport_may_hold_) transport_may_hold_ = unsent_bytes() != 0;
    if (transport_may_hold_) return 0;
    const auto sent = ::send(socket_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent <= 0) return 0;
    given_bytes_ += static_cast<std::uint64_t>(sent);
    return static_cast<std::size_t>(sent);
}

void ClientOutlet::send(ByteBuffer& bytes) {
    const auto left = bytes.view().substr(send_now(bytes.view()));
    if (left.size() >= kLargeBytes) {
        const auto kept = std::make_shared<ByteBuffer>(std::move(bytes));
        lend(lent_memoryview(kept, reinterpret_cast<const std::byte*>(left.data()), left.size()));
    } else if (!left.empty()) {
        queue(left);
    }
    bytes.clear();
    if (bytes.capacity() > kLargeBytes) bytes = ByteBuffer();
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
