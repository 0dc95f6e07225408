#include "exchange.hpp"

#include <charconv>

#include <nanobind/stl/string.h>

#include "http_connection.hpp"
#include "mpserve/http_status.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace mpserve::bind {

namespace {

nb::bytes bytes_of(std::string_view text) { return nb::bytes(text.data(), text.size()); }

int exchange_get_buffer(PyObject* self, Py_buffer* view, int flags) {
    const auto* exchange = nb::inst_ptr<Exchange>(self);
    static const char empty = 0;
    const char* place = exchange->body_bytes == 0 ? &empty : exchange->body;
    return PyBuffer_FillInfo(view, self, const_cast<char*>(place),
                             static_cast<Py_ssize_t>(exchange->body_bytes), 1, flags);
}

PyType_Slot exchange_slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(exchange_get_buffer)},
                                {0, nullptr}};

std::uint64_t length_of(nb::handle part) {
    Py_buffer view;
    if (PyObject_GetBuffer(part.ptr(), &view, PyBUF_SIMPLE) != 0) throw nb::python_error();
    const auto length = static_cast<std::uint64_t>(view.len);
    PyBuffer_Release(&view);
    return length;
}

std::string lower_case(std::string_view name) {
    std::string lower{name};
    for (auto& letter : lower) {
        if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
    }
    return lower;
}

void append_fields(nb::handle headers, std::string& out) {
    for (nb::handle item : nb::borrow<nb::iterable>(headers)) {
        const auto name = nb::cast<nb::bytes>(item[0]);
        const auto value = nb::cast<nb::bytes>(item[1]);
        out.append(name.c_str(), name.size()).append(": ");
        out.append(value.c_str(), value.size()).append("\r\n");
    }
}

nb::list fields_of(const Exchange& exchange, bool as_sent) {
    nb::list headers;
    const std::string_view raw{exchange.raw_head};
    for (const auto& field : exchange.fields) {
        const auto name = raw.substr(field.name_offset, field.name_bytes);
        headers.append(nb::make_tuple(as_sent ? bytes_of(name) : bytes_of(lower_case(name)),
                                      bytes_of(raw.substr(field.value_offset, field.value_bytes))));
    }
    return headers;
}

}  // namespace

Exchange::~Exchange() {
    if (block) nb::cast<HttpConfig&>(config).dispatcher->arena().release(block.ref);
}

// Callbacks may hold this object, so they go as soon as they can not be needed any more.
void Exchange::forget_callbacks() {
    on_client_gone.reset();
    on_writable.reset();
}

void Exchange::tell_client_gone() {
    client_gone = true;
    on_writable.reset();
    const auto callback = std::exchange(on_client_gone, {});
    if (callback.is_valid() && !callback.is_none()) callback();
}

void Exchange::tell_writable() {
    const auto callback = std::exchange(on_writable, {});
    if (callback.is_valid() && !callback.is_none()) callback();
}

bool Exchange::is_writable() const noexcept {
    return !client_gone && nb::inst_ptr<HttpConnection>(connection)->is_writable(sequence);
}

void Exchange::count_at(const std::string& route) {
    auto& traffic = nb::cast<HttpConfig&>(config).dispatcher->traffic();
    if (traffic.is_on()) place = traffic.place(TrafficKind::get, route);
}

void Exchange::add_headers(nb::handle headers) { append_fields(headers, more_fields); }

// Status line and the given fields; the framing ones and the empty line are the caller's.
std::string Exchange::head_of(std::uint32_t status, nb::handle headers) const {
    std::string head = "HTTP/1.1 " + std::to_string(status) + " ";
    head.append(http_reason(status)).append("\r\n");
    append_fields(headers, head);
    head.append(more_fields);
    return head;
}

void Exchange::respond(std::uint32_t status, nb::handle headers, nb::handle body_parts) {
    if (answered || client_gone) return;
    auto& client = *nb::inst_ptr<HttpConnection>(connection);
    const bool keep_alive = client.keeps_alive(sequence);
    nb::list parts;
    if (PyObject_CheckBuffer(body_parts.ptr())) {
        parts.append(body_parts);
    } else {
        for (nb::handle part : nb::borrow<nb::iterable>(body_parts)) parts.append(part);
    }
    std::uint64_t length = 0;
    for (nb::handle part : parts) length += length_of(part);
    auto head = head_of(status, headers);
    answered = true;
    client.tell_status(sequence, place, status);
    forget_callbacks();
    head.append("Content-Length: ").append(std::to_string(length)).append("\r\n");
    if (!keep_alive) head.append("Connection: close\r\n");
    if (keep_alive && minor_version == 0) head.append("Connection: keep-alive\r\n");
    head.append("\r\n");
    nb::list framed;
    framed.append(bytes_of(head));
    if (method != "HEAD") {
        for (nb::handle part : parts) framed.append(part);
    }
    client.answer(sequence, framed, !keep_alive);
}

void Exchange::start_stream(std::uint32_t status, nb::handle headers) {
    if (answered || client_gone) return;
    auto& client = *nb::inst_ptr<HttpConnection>(connection);
    auto head = head_of(status, headers);
    answered = true;
    client.tell_status(sequence, place, status);
    streaming = true;
    const bool keep_alive = chunks() && client.keeps_alive(sequence);
    if (chunks()) head.append("Transfer-Encoding: chunked\r\n");
    if (!keep_alive) {
        head.append("Connection: close\r\n");
        client.make_last(sequence);
    }
    head.append("\r\n");
    nb::list framed;
    framed.append(bytes_of(head));
    client.stream(sequence, framed, false);
}

void Exchange::write_chunk(nb::handle data) {
    if (!streaming || client_gone) return;
    const auto length = length_of(data);
    if (length == 0) return;  // an empty chunk would be the end
    nb::list framed;
    if (chunks()) {
        char size[20];
        const auto end = std::to_chars(size, size + sizeof size, length, 16).ptr;
        framed.append(bytes_of(std::string(size, end) + "\r\n"));
    }
    framed.append(data);
    if (chunks()) framed.append(bytes_of("\r\n"));
    nb::inst_ptr<HttpConnection>(connection)->stream(sequence, framed, false);
}

void Exchange::end_stream() {
    if (!streaming || client_gone) return;
    streaming = false;
    forget_callbacks();
    nb::list framed;
    if (chunks()) framed.append(bytes_of("0\r\n\r\n"));
    nb::inst_ptr<HttpConnection>(connection)->stream(sequence, framed, true);
}

void bind_exchange(nb::module_& m) {
    nb::class_<Exchange>(m, "Exchange", nb::type_slots(exchange_slots),
                         "One HTTP request that Python answers.")
        .def_prop_ro("method", [](const Exchange& self) { return self.method; })
        .def_prop_ro(
            "target", [](const Exchange& self) { return bytes_of(self.target); },
            "Path and query as sent.")
        .def_prop_ro(
            "headers", [](const Exchange& self) { return fields_of(self, false); },
            "(name, value) pairs; names in lower case.")
        .def_prop_ro(
            "headers_as_sent", [](const Exchange& self) { return fields_of(self, true); },
            "(name, value) pairs; names as the client spelled them.")
        .def_prop_ro("http_minor", [](const Exchange& self) { return self.minor_version; })
        .def_prop_ro(
            "body",
            [](nb::handle_t<Exchange> self) {
                return nb::steal(PyMemoryView_FromObject(self.ptr()));
            },
            nb::sig("def body(self) -> memoryview"),
            "Body without chunk framing, still compressed when it came so.")
        .def_prop_ro(
            "body_too_large",
            [](const Exchange& self) { return self.body_outcome == BodyOutcome::too_large; },
            "The body is past the limit and was not read.")
        .def_prop_ro(
            "body_has_no_room",
            [](const Exchange& self) { return self.body_outcome == BodyOutcome::no_room; },
            "No shared memory was left for the body, and it was not read.")
        .def_prop_ro("content_length", [](const Exchange& self) { return self.content_length; })
        .def_prop_ro(
            "received_ns", [](const Exchange& self) { return self.received_ns; },
            "When its first byte came (monotonic clock); 0 while nothing is traced.")
        .def_prop_ro(
            "complete_ns", [](const Exchange& self) { return self.complete_ns; },
            "When its last byte came (monotonic clock); 0 while nothing is traced.")
        .def("count_at", &Exchange::count_at, "route"_a,
             "Count the answer at this route, whose variable parts are named.")
        .def("add_headers", &Exchange::add_headers, "headers"_a,
             "Send these (bytes, bytes) pairs with the answer, whatever it is.")
        .def_prop_ro("client_gone", [](const Exchange& self) { return self.client_gone; })
        .def_prop_ro("answered", [](const Exchange& self) { return self.answered; })
        .def(
            "on_client_gone",
            [](Exchange& self, nb::object callback) {
                self.on_client_gone = std::move(callback);
                if (self.client_gone) self.tell_client_gone();
            },
            "callback"_a, "Call `callback()` when the client goes before it is answered.")
        .def("start_stream", &Exchange::start_stream, "status"_a, "headers"_a,
             "Answer bit by bit from now on. Framing headers are added.")
        .def("write_chunk", &Exchange::write_chunk, "data"_a,
             "Send the next piece; an empty one is no piece.")
        .def("end_stream", &Exchange::end_stream, "The last piece was sent.")
        .def_prop_ro("writable", &Exchange::is_writable,
                     "A piece sent now leaves at once: earlier requests are answered, and the "
                     "client reads.")
        .def(
            "on_writable",
            [](Exchange& self, nb::object callback) { self.on_writable = std::move(callback); },
            "callback"_a, "Call `callback()` once, when the exchange has become writable.")
        .def("respond", &Exchange::respond, "status"_a, "headers"_a, "body"_a,
             "Answer. `headers` are (bytes, bytes) pairs; `body` is bytes-like or a sequence of "
             "such. "
             "Content-Length and Connection are added.");
}

}  // namespace mpserve::bind
